# Requests of the highest load as bars over time, a panel a target: waiting for the first token, then decoding.
rows = n_panels > 2 ? 2 : 1
columns = n_panels > 1 ? 2 : 1
height = (rows > 1 ? 740 : 500) + 40
edge = 1 - (subtitle eq '' ? 34.0 : 52.0) / height
foot = 42.0 / height
step_y = (edge - foot) / rows
step_x = 1.0 / columns

# Column `what` of the rows of panel p in which it exists.
at(p, what) = column('panel') == p ? column(what) : NaN
failed_at(p, what) = column('failed') > 0 ? at(p, what) : NaN
ok_at(p, what) = column('failed') > 0 ? NaN : at(p, what)

waiting = '#56B4E9'
decoding = '#0072B2'
planned = '#bbbbbb'

# An iteration over nothing would still take a place in the legend.
legend_text = "plot NaN with boxes lc rgb waiting title 'to the first token', NaN with boxes lc rgb decoding title 'decoding'" . \
	(any_failed ? ", NaN with boxes lc rgb red title 'failed'" : '') . \
	(any_queued ? ", NaN with boxes lc rgb planned title 'planned, not sent'" : '')

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot
	set style fill solid 1 noborder
	do for [p = 1:n_panels] {
		x = (p - 1) % columns
		y = (p - 1) / columns
		eval panel(x * step_x + 0.07, (x + 1) * step_x - 0.02, edge - (y + 1) * step_y + 58.0 / height, edge - y * step_y - 26.0 / height)
		if (p == 1) { eval headline(height, '') }
		set title panel_title[p] font ',10' offset 0,-0.4
		set xlabel 's since the level began'
		set ylabel 'request'
		set xrange [from_s[p]:to_s[p]]
		set yrange [last_row[p] + 1:first_row[p] - 1]
		plot 'timeline.dat' using (at(p, 'sched_s')):(column('row')):(column('sched_s')):(column('send_s')):(column('row') - 0.15):(column('row') + 0.15) with boxxyerror lc rgb planned notitle, \
			'' using (ok_at(p, 'send_s')):(column('row')):(column('send_s')):(column('token1_s')):(column('row') - 0.38):(column('row') + 0.38) with boxxyerror lc rgb waiting notitle, \
			'' using (ok_at(p, 'token1_s')):(column('row')):(column('token1_s')):(column('done_s')):(column('row') - 0.38):(column('row') + 0.38) with boxxyerror lc rgb decoding notitle, \
			'' using (failed_at(p, 'send_s')):(column('row')):(column('send_s')):(column('done_s')):(column('row') - 0.38):(column('row') + 0.38) with boxxyerror lc rgb red notitle
	}

	eval panel(0.02, 0.98, 8.0 / height, 36.0 / height)
	unset border
	unset tics
	unset grid
	set xrange [0:1]
	set yrange [0:1]
	set key at screen 0.5, screen 20.0 / height center center vertical maxrows 1 Left reverse samplen 1.5
	eval legend_text
	unset multiplot
	unset output
}
