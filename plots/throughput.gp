# Output tokens/s against load. Left: all requests together. Right, in a closed loop: the
# seed benchmark's reading, in which the client's own queue counts as latency.
height = 430 + key_px + 26
bottom = (key_px + 26 + 50.0) / height
top = 1 - (subtitle eq '' ? 60.0 : 76.0) / height
notes = any_knee ? sprintf('ring: last load that meets the SLO for %g %% of requests', slo_percent) : ''
notes = join_notes(notes, band_note(repeats))
notes = join_notes(notes, any_saturated ? 'hollow: the client was saturated' : '')

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.075, has_seed ? 0.49 : 0.975, bottom, top)
	eval headline(height, notes)
	eval load_axis
	set title has_seed ? 'All requests: tokens / (first send to last end)' : '' font ',10' offset 0,-0.4
	set ylabel 'output tokens/s'
	eval from_zero
	plot for [i = 1:n_targets] 'throughput.dat' using (of(i, 'load')):(column('tps_low')):(column('tps_high')) with filledcurves lt i fs transparent solid 0.15 noborder notitle, \
		for [i = 1:n_targets] '' using (of(i, 'load')):(column('tps')) with linespoints lt i notitle, \
		for [i = 1:n_targets] '' using (saturated(i, 'load')):(column('tps')) with points lt i pt 7 ps 0.5 lc rgb 'white' notitle, \
		for [i = 1:n_targets] '' using (of(i, 'load')):(column('knee') > 0 ? column('tps') : NaN) with points lt i pt 6 ps 2.2 lw 1.2 notitle

	if (has_seed) {
		eval panel(0.565, 0.98, bottom, top)
		eval load_axis
		set title "Seed's reading: mean of tokens / time since level start" font ',10' offset 0,-0.4
		set ylabel 'tokens/s of a request'
		eval from_zero
		plot for [i = 1:n_targets] 'throughput.dat' using (of(i, 'load')):(column('seed_low')):(column('seed_high')) with filledcurves lt i fs transparent solid 0.15 noborder notitle, \
			for [i = 1:n_targets] '' using (of(i, 'load')):(column('seed')) with linespoints lt i notitle, \
			for [i = 1:n_targets] '' using (saturated(i, 'load')):(column('seed')) with points lt i pt 7 ps 0.5 lc rgb 'white' notitle
	}

	eval legend(0.02, 0.98, 20.0 / height, (key_px + 20.0) / height, 'linespoints')
	unset multiplot
	unset output
}
