# The engine while it was under load: what it says of itself (requests running and waiting, KV cache in use), and, where
# loadgen launched it, what the machine says of it (cores kept busy, memory); of an engine on this machine also what its
# cards do.
n_panels = (has_load ? 2 : 0) + (has_kv ? 1 : 0) + (has_proc ? 2 : 0) + (has_gpu ? 2 : 0) + (has_gpu_power ? 1 : 0)
height = 120 + 170 * n_panels + key_px + 26
foot = (key_px + 70.0) / height
top = 1 - (subtitle eq '' ? 48.0 : 66.0) / height
step = (top - foot) / n_panels

mark_levels = ''
do for [k = 1:n_marks] {
	mark_levels = mark_levels . sprintf('set arrow %d from first %g, graph 0 to first %g, graph 1 nohead dt 3 lw 0.8 lc rgb grey; ', 100 + k, mark_s[k], mark_s[k])
}
name_levels = ''
do for [k = 1:n_marks] {
	name_levels = name_levels . sprintf('set label %d "%s" at first %g, graph 1 offset 0.3,0.5 font ",8" textcolor rgb "#555555"; ', 100 + k, mark_label[k], mark_s[k])
}

# The k-th panel from above, of column `what`; time is written under the last one.
server_panel(k, what, label) = panel(0.08, 0.98, top - k * step + 18.0 / height, top - (k - 1) * step - 6.0 / height) . '; ' . \
	(k == 1 ? headline(height, '') . '; ' . name_levels : '') . (k == n_panels ? 'set xlabel time_label; ' : "set format x ''; ") . mark_levels . \
	sprintf('set ylabel "%s"; set xrange [0:*] noextend; eval from_zero; plot for [i = 1:n_targets] "server.dat" using (of(i, "t_s")):(column("%s")) with steps lt i notitle', label, what)

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot
	k = 0

	if (has_load) {
		eval server_panel(1, 'running', 'requests running')
		eval server_panel(2, 'waiting', 'requests waiting')
		k = 2
	}
	if (has_kv) {
		k = k + 1
		eval server_panel(k, 'kv_percent', 'KV cache in use, %')
	}
	if (has_proc) {
		eval server_panel(k + 1, 'cpu_cores', 'CPU, cores')
		eval server_panel(k + 2, 'memory', 'memory, ' . memory_unit)
		k = k + 2
	}
	if (has_gpu) {
		eval server_panel(k + 1, 'gpu_percent', 'GPU busy, %')
		eval server_panel(k + 2, 'gpu_memory', 'GPU memory, ' . gpu_memory_unit)
		k = k + 2
	}
	if (has_gpu_power) {
		eval server_panel(k + 1, 'gpu_power', 'GPU power, W')
	}

	eval legend(0.02, 0.98, 10.0 / height, (key_px + 10.0) / height, 'lines')
	unset multiplot
	unset output
}
