# Requests that met the SLO, per second and as a share, against load; the knee is the last load that meets it for slo_percent.
height = 430 + key_px + 26
bottom = (key_px + 26 + 50.0) / height
top = 1 - (subtitle eq '' ? 60.0 : 76.0) / height
notes = sprintf('ring: the knee, the last load that meets the SLO for %g %%', slo_percent)
notes = open_loop ? 'dashed: all that was asked for; ' . notes : notes
notes = join_notes(notes, repeats > 1 ? sprintf('band: %d repeats', repeats) : '')
notes = join_notes(notes, any_saturated ? 'hollow: the client was saturated' : '')

knees = ''
do for [i = 1:n_targets] {
	if (knee[i] > 0) {
		knees = knees . sprintf('set arrow %d from first %g, graph 0 to first %g, graph 1 nohead dt 3 lw 1.2 lc rgb word(colours, %d); ', 100 + i, knee[i], knee[i], (i - 1) % 7 + 1)
	}
}

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.075, 0.49, bottom, top)
	eval headline(height, notes)
	eval load_axis
	eval knees
	set title 'Goodput: ' . slo_text font ',10' offset 0,-0.4
	set ylabel 'good requests/s'
	eval from_zero
	plot (open_loop ? x : NaN) with lines lc rgb grey dt 2 lw 1 notitle, \
		for [i = 1:n_targets] 'goodput.dat' using (of(i, 'load')):(column('goodput_low')):(column('goodput_high')) with filledcurves lt i fs transparent solid 0.15 noborder notitle, \
		for [i = 1:n_targets] '' using (of(i, 'load')):(column('goodput')) with linespoints lt i notitle, \
		for [i = 1:n_targets] '' using (saturated(i, 'load')):(column('goodput')) with points lt i pt 7 ps 0.5 lc rgb 'white' notitle, \
		for [i = 1:n_targets] '' using (column('load') == knee[i] ? of(i, 'load') : NaN):(column('goodput')) with points lt i pt 6 ps 2.2 lw 1.2 notitle

	eval panel(0.565, 0.98, bottom, top)
	eval load_axis
	eval knees
	set title 'Share of requests that met it' font ',10' offset 0,-0.4
	set ylabel '% of those sent'
	set yrange [0:105]
	set arrow 1 from graph 0, first slo_percent to graph 1, first slo_percent nohead dt 3 lw 1.2 lc rgb grey
	set label 9 sprintf('%g %%', slo_percent) at graph 0.01, first slo_percent offset 0,-0.6 font ',8' textcolor rgb '#555555'
	plot for [i = 1:n_targets] 'goodput.dat' using (of(i, 'load')):(column('percent')) with linespoints lt i notitle, \
		for [i = 1:n_targets] '' using (saturated(i, 'load')):(column('percent')) with points lt i pt 7 ps 0.5 lc rgb 'white' notitle, \
		for [i = 1:n_targets] '' using (column('load') == knee[i] ? of(i, 'load') : NaN):(column('percent')) with points lt i pt 6 ps 2.2 lw 1.2 notitle

	eval legend(0.02, 0.98, 20.0 / height, (key_px + 20.0) / height, 'linespoints')
	unset multiplot
	unset output
}
