# The two keys of a sweep against each other: what each place of the grid achieves at the highest load that meets the SLO.
# A panel a target of the scenario; the best place of all has a frame, one that meets the SLO at no load is left white.
# Of a search white are those that were not tried.
panel_columns = n_panels < 2 ? 1 : 2
panel_rows = (n_panels + panel_columns - 1) / panel_columns
row_px = 108 + (n_y < 6 ? 40 : 26) * n_y
height = 76 + panel_rows * row_px
set palette defined (0 '#f3f6f9', 0.5 '#7fb2d6', 1 '#0b3c6f')
unset colorbox

# A panel's own rows; a number in few digits, nothing where there is none or no room.
here(p, what) = column('panel') == p ? column(what) : NaN
cell(v) = n_x > 12 || v != v ? '' : sprintf(v < 100 ? '%.3g' : '%.0f', v)

do for [pass in 'svg png'] {
	eval terminal(pass, height)
	set output name . '.' . pass
	set multiplot
	do for [p = 1:n_panels] {
		column_of = (p - 1) % panel_columns
		row_of = (p - 1) / panel_columns
		left = (column_of + 0.0) / panel_columns
		top = 1 - (76.0 + row_of * row_px) / height
		eval panel(left + 0.12, left + 1.0 / panel_columns - 0.03, top - (row_px - 80.0) / height, top)
		if (p == 1) { eval headline(height, value_label . (any_missed ? '; ' . (searched ? '–' : 'white') . ': the SLO is met at no load' : '') . (searched ? '; white: not tried' : '') . '; framed: the best') }
		unset grid
		set cbrange [0:value_max]
		set title panel_title[p] font ',10' offset 0,-0.4
		set xlabel x_label
		set ylabel y_label
		set xrange [0.5:n_x + 0.5]
		set yrange [0.5:n_y + 0.5]
		set xtics ()
		do for [i = 1:n_x] { set xtics add (x_value[i] i) }
		set ytics ()
		do for [i = 1:n_y] { set ytics add (y_value[i] i) }
		set style fill solid 1 border lc rgb 'white'
		plot 'heatmap.dat' using (here(p, 'x')):(column('y')):(0.5):(0.5):(column('value')) with boxxyerror fc palette notitle, \
			'' using (column('best') > 0 ? here(p, 'x') : NaN):(column('y')):(0.47):(0.47) with boxxyerror fs empty border lc rgb red lw 2.5 notitle, \
			'' using (column('missed') > 0 ? here(p, 'x') : NaN):(column('y')):('–') with labels font ',9' textcolor rgb '#222222' notitle, \
			'' using (column('value') < 0.55 * value_max ? here(p, 'x') : NaN):(column('y')):(cell(column('value'))) with labels font ',9' textcolor rgb '#222222' notitle, \
			'' using (column('value') >= 0.55 * value_max ? here(p, 'x') : NaN):(column('y')):(cell(column('value'))) with labels font ',9' textcolor rgb 'white' notitle
	}
	unset multiplot
	unset output
}
