# The figures of reproduce-published.sh that no comparison of loadgen draws: what is off, and what a cache finds. Drawn in the
# folder of FIGURE.dat, whose columns the script names; `figure` says which one.
set encoding utf8
set border 3 lc rgb '#555555' lw 0.8
set tics nomirror textcolor rgb '#222222'
set grid lc rgb '#dddddd' lw 0.6 lt 1
blue = '#0072B2'
orange = '#D55E00'
green = '#009E73'
set rmargin 5

do for [pass in 'svg png'] {
	if (pass eq 'svg') { set terminal svg size 900,500 dynamic noenhanced font 'sans-serif,10' fontscale 1.3 background 'white' }
	else { set terminal pngcairo size 1800,1000 noenhanced font 'sans,10' fontscale 2 linewidth 2 pointscale 2 }
	set output figure . '.' . pass
	if (figure eq 'steps') {
		set title 'Steps of 70B and 176B models on four and eight A100 and H100: a profile fitted to each of nine grids'
		set xlabel 'measured, ms'
		set ylabel 'simulated is off by, %'
		set logscale x
		set key bottom right
		plot 0 with lines lc rgb '#888888' notitle, \
			'steps.dat' using 3:4 with points pt 7 ps 0.6 lc rgb blue title 'prefill, a step of all prompts', \
			'' using 5:6 with points pt 5 ps 0.6 lc rgb orange title 'decode, a token of each'
	}
	if (figure eq 'l4') {
		set title 'vLLM 0.8.5, Qwen2.5-7B on an L4: fitted to 1, 16 and 64 clients, foretold 4 and 32 (three repeats)'
		set xlabel 'clients and repeat'
		set ylabel 'simulated is off by, %'
		set xrange [-0.5:5.5]
		set yrange [-20:20]
		set key bottom left
		set style data points
		plot 0 with lines lc rgb '#888888' notitle, \
			10 with lines dt 3 lc rgb blue title 'goal of TTFT', -10 with lines dt 3 lc rgb blue notitle, \
			3 with lines dt 3 lc rgb orange title 'goal of TPOT and tokens/s', -3 with lines dt 3 lc rgb orange notitle, \
			'l4.dat' using 0:3:xtic(sprintf('%d, #%d', int(column(1)), int(column(2)))) pt 7 lc rgb blue title 'mean TTFT', \
			'' using 0:4 pt 5 lc rgb orange title 'mean TPOT', '' using 0:5 pt 9 lc rgb green title 'tokens/s'
	}
	if (figure eq 'hits') {
		set title 'Prefix caching on the Mooncake conversations: the policy of vLLM V1, request by request an LRU list'
		set xlabel 'KV cache, blocks of 512 tokens'
		set ylabel 'blocks of the prompts found in it, %'
		set logscale x
		set yrange [0:40]
		set key bottom right
		plot 36.6 with lines dt 3 lc rgb '#888888' title 'all there is to find', \
			'hits.dat' using 1:2 with linespoints pt 7 lc rgb blue title 'found'
	}
	unset output
}
