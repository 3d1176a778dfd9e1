# Simulated lines through measured points, in the colour of the measured target; below each panel what the simulation
# is off by, in percent of the measured figure.
height = 560 + key_px + 26
bottom = (key_px + 26 + 50.0) / height
top = 1 - (subtitle eq '' ? 60.0 : 76.0) / height
middle = bottom + 0.31 * (top - bottom)
notes = join_notes('points: measured; lines: simulated; dotted and open: p99', any_saturated ? 'hollow: the client was saturated' : '')

# Whose colour target i has; is it simulated?
look(i) = stands_for[i] > 0 ? stands_for[i] : i
measured(i, what) = stands_for[i] == 0 ? of(i, what) : NaN
simulated(i, what) = stands_for[i] > 0 ? of(i, what) : NaN

curve_panel(what, tail) = \
	sprintf('plot for [i = 1:n_targets] "overlay.dat" using (simulated(i, "load")):(column("%s")) with lines lc rgb word(colours, (look(i) - 1) %% 10 + 1) lw 1.8 notitle, ', what) . \
	sprintf('for [i = 1:n_targets] "" using (measured(i, "load")):(column("%s")) with points lc rgb word(colours, (look(i) - 1) %% 10 + 1) pt 7 ps 0.9 notitle', what) . \
	(tail eq '' ? '' : sprintf(', for [i = 1:n_targets] "" using (simulated(i, "load")):(column("%s")) with lines lc rgb word(colours, (look(i) - 1) %% 10 + 1) dt 3 lw 1.4 notitle, ', tail) . \
	sprintf('for [i = 1:n_targets] "" using (measured(i, "load")):(column("%s")) with points lc rgb word(colours, (look(i) - 1) %% 10 + 1) pt 6 ps 0.8 notitle', tail))

residual_panel(what, tail) = \
	'eval load_axis; set ylabel "off by, %"; set ytics font ",8"; set offsets 0, 0, graph 0.15, graph 0.15; ' . \
	sprintf('plot 0 with lines lc rgb grey dt 2 lw 1 notitle, for [i = 1:n_targets] "overlay.dat" using (simulated(i, "load")):(column("%s")) with linespoints lc rgb word(colours, (look(i) - 1) %% 10 + 1) pt 7 ps 0.7 notitle', what) . \
	(tail eq '' ? '' : sprintf(', for [i = 1:n_targets] "" using (simulated(i, "load")):(column("%s")) with linespoints lc rgb word(colours, (look(i) - 1) %% 10 + 1) dt 3 pt 6 ps 0.7 notitle', tail))

no_tics_below = 'set xlabel ""; set format x ""'

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.075, 0.325, middle + 0.03, top)
	eval headline(height, notes)
	eval load_axis
	eval no_tics_below
	set title 'Output tokens/s' font ',10' offset 0,-0.4
	eval from_zero
	eval curve_panel('tps', '')
	eval panel(0.075, 0.325, bottom, middle - 0.01)
	eval residual_panel('tps_error', '')

	eval panel(0.41, 0.655, middle + 0.03, top)
	eval load_axis
	eval no_tics_below
	set title ttft_title font ',10' offset 0,-0.4
	set ylabel 'ms' offset 0.5,0
	eval (log_ttft ? 'set logscale y 10' : from_zero)
	eval curve_panel('ttft', 'ttft_p99')
	eval panel(0.41, 0.655, bottom, middle - 0.01)
	eval residual_panel('ttft_error', 'ttft_p99_error')

	eval panel(0.74, 0.985, middle + 0.03, top)
	eval load_axis
	eval no_tics_below
	set title tpot_title font ',10' offset 0,-0.4
	set ylabel 'ms' offset 0.5,0
	eval (log_tpot ? 'set logscale y 10' : from_zero)
	eval curve_panel('tpot', 'tpot_p99')
	eval panel(0.74, 0.985, bottom, middle - 0.01)
	eval residual_panel('tpot_error', 'tpot_p99_error')

	eval panel(0.02, 0.98, 20.0 / height, (key_px + 20.0) / height)
	unset border; unset tics; unset grid; set xrange [0:1]; set yrange [0:1]
	set key at screen 0.5, screen (key_px / 2.0 + 20.0) / height center center vertical maxrows key_rows Left reverse samplen 2.5 spacing 1.1
	plot for [i = 1:n_targets] NaN with points lc rgb word(colours, (look(i) - 1) % 10 + 1) pt 7 ps 0.9 title (stands_for[i] > 0 ? '' : target[i]), \
		for [i = 1:n_targets] NaN with lines lc rgb word(colours, (look(i) - 1) % 10 + 1) lw 1.8 title (stands_for[i] > 0 ? target[i] : '')
	unset multiplot
	unset output
}
