# What all figures share: the look, the panels, the legend. Above it loadgen has put the definitions of this run (name,
# title, subtitle, n_targets, target[], axis and SLO); below it follows the figure. Data is in NAME.dat: tab-separated,
# columns addressed by their name in its first line. `gnuplot NAME.gp` in this folder draws NAME.svg and NAME.png again.
set encoding utf8
set datafile separator tab
set datafile columnheaders
set datafile missing 'NaN'

# Okabe and Ito's colours without the yellow, which print swallows, then three of Paul Tol's muted ones. From the eleventh
# target on they come again with dashes, which a step curve hides; shapes come again from the seventh.
colours = '#0072B2 #D55E00 #009E73 #CC79A7 #E69F00 #56B4E9 #444444 #882255 #999933 #44AA99'
shapes = '7 5 9 13 11 15'
do for [i = 1:30] {
	dashes = i > 20 ? 4 : i > 10 ? 2 : 1
	set linetype i lc rgb word(colours, (i - 1) % 10 + 1) pt int(word(shapes, (i - 1) % 6 + 1)) ps 0.9 lw 1.6 dt dashes
}
set linetype cycle 30
grey = '#888888'
red = '#D55E00'

width = 900
key_rows = ceil(1.0 * n_targets / key_columns)
key_px = 22 * key_rows + 8

# The terminal for pass "svg" or "png"; the png has twice the pixels.
terminal(pass, height) = pass eq 'svg' ? \
	sprintf("set terminal svg size %d,%d dynamic noenhanced font 'sans-serif,10' fontscale 1.3 background 'white'", width, height) : \
	sprintf("set terminal pngcairo size %d,%d noenhanced font 'sans,10' fontscale 2 linewidth 2 pointscale 2", 2 * width, 2 * height)

# The next panel, from a clean slate; sides as fractions of the picture.
panel(left, right, bottom, top) = sprintf( \
	"unset key; unset label; unset arrow; unset logscale; unset title; unset xlabel; unset ylabel; " . \
	"set border 3 lc rgb '#555555' lw 0.8; set xtics nomirror autofreq textcolor rgb '#222222'; set ytics nomirror autofreq textcolor rgb '#222222'; " . \
	"set grid xtics ytics lc rgb '#dddddd' lw 0.6 lt 1; set autoscale; set format '%%g'; set offsets 0, 0, 0, 0; " . \
	"set lmargin at screen %g; set rmargin at screen %g; set bmargin at screen %g; set tmargin at screen %g", left, right, bottom, top)

# Title and subtitle above, notes below; with the first panel.
headline(height, notes) = sprintf( \
	"set label 1 title at screen 0.5, screen %g center font ',12'; " . \
	"set label 2 subtitle at screen 0.5, screen %g center font ',9' textcolor rgb '#555555'; " . \
	"set label 3 '%s' at screen 0.5, screen %g center font ',9' textcolor rgb '#555555'", \
	1 - 17.0 / height, 1 - 36.0 / height, notes, 12.0 / height)
join_notes(a, b) = a eq '' ? b : b eq '' ? a : a . '; ' . b

# An empty panel that holds the legend: a line and a point a target, key_columns in a row.
legend(left, right, bottom, top, style) = panel(left, right, bottom, top) . sprintf( \
	"; unset border; unset tics; unset grid; set xrange [0:1]; set yrange [0:1]; " . \
	"set key at screen %g, screen %g center center vertical maxrows %d Left reverse samplen 2.5 spacing 1.1; " . \
	"plot for [i = 1:n_targets] NaN with %s lt i title target[i]", (left + right) / 2, (bottom + top) / 2, key_rows, style)

# What a band is: with repeats their spread, else how far one run's requests pin the figure down.
band_note(repeats) = repeats > 1 ? sprintf('band: smallest to largest of %d repeats', repeats) : 'band: 95 % interval over requests'

# From zero, with room above the highest point.
from_zero = 'set yrange [0:*] noextend; set offsets 0, 0, graph 0.06, 0'

# The load axis: the levels themselves as tics where they are few, logarithmic where they double.
load_axis = 'set xlabel load_label; ' . (load_log ? 'set logscale x 2; ' : '') . \
	(load_tics eq '' ? '' : 'set xtics (); do for [v in load_tics] { set xtics add (v v + 0) }; ') . \
	sprintf('set xrange [%g:%g]', load_min, load_max)

# Column `what` of target i's rows; of its saturated rows.
of(i, what) = column('target') == i ? column(what) : NaN
saturated(i, what) = column('target') == i && column('saturated') > 0 ? column(what) : NaN
