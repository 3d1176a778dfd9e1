# The engine's own metrics while it was under load: requests running and waiting, KV cache in use.
height = 620 + key_px + 26
foot = (key_px + 30.0) / height
top = 1 - (subtitle eq '' ? 34.0 : 52.0) / height
n_panels = has_kv ? 3 : 2
step = (top - foot) / n_panels

mark_levels = ''
do for [k = 1:n_marks] {
	mark_levels = mark_levels . sprintf('set arrow %d from first %g, graph 0 to first %g, graph 1 nohead dt 3 lw 0.8 lc rgb grey; ', 100 + k, mark_s[k], mark_s[k])
}
name_levels = ''
do for [k = 1:n_marks] {
	name_levels = name_levels . sprintf('set label %d "%s" at first %g, graph 1 offset 0.3,0.5 font ",8" textcolor rgb "#555555"; ', 100 + k, mark_label[k], mark_s[k])
}

server_panel(what) = mark_levels . sprintf('set xrange [0:*] noextend; eval from_zero; plot for [i = 1:n_targets] "server.dat" using (of(i, "t_s")):(column("%s")) with steps lt i notitle', what)

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.08, 0.98, top - step + 0.05, top - 0.03)
	eval headline(height, '')
	eval name_levels
	set ylabel 'requests running'
	set format x ''
	eval server_panel('running')

	eval panel(0.08, 0.98, top - 2 * step + 0.05, top - step + 0.02)
	set ylabel 'requests waiting'
	if (has_kv) { set format x '' } else { set xlabel time_label }
	eval server_panel('waiting')

	if (has_kv) {
		eval panel(0.08, 0.98, foot + 0.05, top - 2 * step + 0.02)
		set ylabel 'KV cache in use, %'
		set xlabel time_label
		eval server_panel('kv_percent')
	}

	eval legend(0.02, 0.98, 10.0 / height, (key_px + 10.0) / height, 'lines')
	unset multiplot
	unset output
}
