# Of a comparison: every target over the first one at equal load, with 95 % intervals. Above 1 is more.
height = 400 + key_px + 26
bottom = (key_px + 26 + 50.0) / height
top = 1 - (subtitle eq '' ? 60.0 : 76.0) / height
notes = sprintf('over %s; bars: 95 %% interval; where a bar crosses 1 the difference may be noise', target[1])

# Column `what` of target i's rows of measure m.
ratio_of(i, m, what) = column('measure') == m ? of(i, what) : NaN

ratio_panel(m) = \
	'eval load_axis; set offsets 0, 0, graph 0.08, graph 0.08; ' . \
	sprintf('plot 1 with lines lc rgb grey dt 2 lw 1 notitle, for [i = 2:n_targets] "ratio.dat" using (of(i, "load")):(ratio_of(i, %d, "ratio")):(ratio_of(i, %d, "low")):(ratio_of(i, %d, "high")) with yerrorbars lt i ps 0 lw 1.2 notitle, ', m, m, m) . \
	sprintf('for [i = 2:n_targets] "" using (column("measure") == %d ? of(i, "load") : NaN):(ratio_of(i, %d, "ratio")) with linespoints lt i notitle', m, m)

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.065, 0.325, bottom, top)
	eval headline(height, notes)
	set title 'Output tokens/s (more is better)' font ',10' offset 0,-0.4
	set ylabel 'times that of the first'
	eval ratio_panel(0)

	eval panel(0.395, 0.655, bottom, top)
	set title 'TTFT p50 (less is better)' font ',10' offset 0,-0.4
	eval ratio_panel(1)

	eval panel(0.725, 0.985, bottom, top)
	set title 'TPOT p50 (less is better)' font ',10' offset 0,-0.4
	eval ratio_panel(2)

	eval legend(0.02, 0.98, 20.0 / height, (key_px + 20.0) / height, 'linespoints')
	unset multiplot
	unset output
}
