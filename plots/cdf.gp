# Distributions over requests (TTFT) and over gaps between tokens (ITL), at the lowest and the highest load.
height = 430 + key_px + 26
bottom = (key_px + 26 + 50.0) / height
top = 1 - (subtitle eq '' ? 60.0 : 76.0) / height

# Rows of target i, metric m (0 TTFT, 1 ITL), level w (0 lowest, 1 highest).
row(i, m, w) = column('target') == i && column('metric') == m && column('highest') == w ? column('ms') : NaN

cdf_panel(m, log_x) = \
	'set xlabel "ms"; set yrange [0:1]; ' . (log_x ? 'set logscale x 10; set xrange [*:*] noextend; ' : 'set xrange [0:*] noextend; set offsets 0, graph 0.05, 0, 0; ') . \
	sprintf('plot for [i = 1:n_targets] "cdf.dat" using (row(i, %d, 1)):(column("share")) with steps lt i notitle, ', m) . \
	sprintf('for [i = 1:n_targets] "" using (row(i, %d, 0)):(column("share")) with steps lt i lw 1.2 dt 3 notitle', m)

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot

	eval panel(0.075, has_itl ? 0.49 : 0.975, bottom, top)
	eval headline(height, two_levels ? 'dotted: ' . low_label . (n_targets > 7 ? ', else: ' : ', solid: ') . high_label : high_label)
	set title ttft_title font ',10' offset 0,-0.4
	set ylabel 'share of requests'
	eval cdf_panel(0, log_ttft)

	if (has_itl) {
		eval panel(0.565, 0.98, bottom, top)
		set title 'ITL: gap between token-bearing events' font ',10' offset 0,-0.4
		set ylabel 'share of gaps'
		eval cdf_panel(1, log_itl)
	}

	eval legend(0.02, 0.98, 20.0 / height, (key_px + 20.0) / height, 'lines')
	unset multiplot
	unset output
}
