# TTFT, TPOT and E2EL against load, p50 and p99, each with its SLO; the legend in the fourth quarter.
height = 660
top = 1 - (subtitle eq '' ? 34.0 : 52.0) / height
middle = 0.5 * top + 0.02
notes = join_notes('solid: p50, dotted: p99' . (any_slo ? ', grey: SLO' : ''), band_note(repeats))
notes = join_notes(notes, any_saturated ? 'hollow: the client was saturated' : '')

metric_panel(what, slo_ms) = \
	'eval load_axis; set ylabel "ms"; ' . (value('log_' . what) ? 'set logscale y 10; ' : 'eval from_zero; ') . \
	'plot for [i = 1:n_targets] "latency.dat" using (of(i, "load")):(column("' . what . '_p99_low")):(column("' . what . '_p99_high")) with filledcurves lt i fs transparent solid 0.08 noborder notitle, ' . \
	'for [i = 1:n_targets] "" using (of(i, "load")):(column("' . what . '_p50_low")):(column("' . what . '_p50_high")) with filledcurves lt i fs transparent solid 0.15 noborder notitle, ' . \
	'for [i = 1:n_targets] "" using (of(i, "load")):(column("' . what . '_p50")) with linespoints lt i notitle, ' . \
	'for [i = 1:n_targets] "" using (of(i, "load")):(column("' . what . '_p99")) with linespoints lt i dt 3 ps 0.6 notitle, ' . \
	'for [i = 1:n_targets] "" using (saturated(i, "load")):(column("' . what . '_p50")) with points lt i pt 7 ps 0.5 lc rgb "white" notitle' . \
	(slo_ms > 0 ? sprintf(', %g with lines lc rgb grey dt 2 lw 1 notitle', slo_ms) : '')

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.09, 0.485, middle + 0.06, top - 0.04)
	eval headline(height, notes)
	set title ttft_title font ',10' offset 0,-0.4
	eval metric_panel('ttft', slo_ttft_ms)

	eval panel(0.59, 0.985, middle + 0.06, top - 0.04)
	set title e2el_title font ',10' offset 0,-0.4
	eval metric_panel('e2el', slo_e2el_ms)

	if (has_tpot) {
		eval panel(0.09, 0.485, 0.115, middle - 0.075)
		set title tpot_title font ',10' offset 0,-0.4
		eval metric_panel('tpot', slo_tpot_ms)
	}

	key_rows = n_targets > 15 ? ceil(n_targets / 2.0) : n_targets
	eval legend(0.53, 0.99, 0.09, middle - 0.02, 'linespoints')
	unset multiplot
	unset output
}
