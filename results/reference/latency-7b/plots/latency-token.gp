# latency-token.gp: gnuplot -d latency-token.gp makes latency-token.svg, latency-token.pdf and latency-token.png of it.
$t1_0 << EOD
4096 4.47514 3.3084
16384 4.87349 3.30314
65536 5.67714 3.85939
131072 6.50659 4.6669
262144 8.21507 6.27738
EOD
$t1_1 << EOD
4096 4.65469 3.25795
16384 4.8377 3.12842
65536 5.05592 3.17856
131072 5.33546 3.31053
262144 5.94739 3.56749
EOD
$t1_2 << EOD
4096 4.82297 3.25627
16384 5.0092 3.13014
65536 5.27779 3.18181
131072 5.63689 3.3105
262144 6.40338 3.57
EOD
$t6_0 << EOD
262144 24.4949 22.4465
EOD
$t6_1 << EOD
262144 8.61776 6.19627
EOD
$t6_2 << EOD
262144 10.6598 6.19835
EOD
$t8_0 << EOD
4096 4.79814 3.47602
16384 6.30427 4.66539
65536 11.5341 9.51197
131072 18.0241 15.9808
EOD
$t8_1 << EOD
4096 4.71203 3.13571
16384 5.06402 3.31243
65536 5.98248 4.09554
131072 7.17552 5.14808
EOD
$t8_2 << EOD
4096 5.28636 3.13421
16384 5.75648 3.31198
65536 7.08852 4.09726
131072 8.81018 5.14637
EOD
do for [kind in 'svg pdf png'] {
if (kind eq 'svg') {
  set terminal svg size 504,214 dynamic enhanced font 'sans-serif,8' name 'latency_token' background rgb 'white'
}
if (kind eq 'pdf') {
  set terminal pdfcairo size 7.0000in,2.9722in enhanced font 'sans-serif,8' fontscale 0.75 linewidth 2 background rgb 'white'
}
if (kind eq 'png') {
  set terminal pngcairo size 1512,642 enhanced font 'sans-serif,8' fontscale 2.25 linewidth 3 pointscale 3 background rgb 'white'
}
set output 'latency-token.'.kind
reset
set encoding utf8
set style line 1 lw 1.4 lc rgb '#000000' dt 1 pt 7 ps 0.45
set style line 2 lw 1.4 lc rgb '#0072B2' dt 1 pt 5 ps 0.45
set style line 3 lw 1.4 lc rgb '#D55E00' dt (14,4) pt 9 ps 0.55
set style line 4 lw 1.4 lc rgb '#009E73' dt (4,3) pt 11 ps 0.55
set style line 5 lw 1.4 lc rgb '#CC79A7' dt (10,3,2,3) pt 13 ps 0.55
set style line 6 lw 1.4 lc rgb '#E69F00' dt (2,2) pt 6 ps 0.5
set style line 7 lw 1.4 lc rgb '#56B4E9' dt (16,3,2,3,2,3) pt 4 ps 0.45
set style line 8 lw 1.4 lc rgb '#7F7F7F' dt (8,8) pt 8 ps 0.5
set border 3 lw 0.5
set tics nomirror out scale 0.4
unset key
set datafile missing '?'
set palette defined (0 '#440154', 1 '#472d7b', 2 '#3b528b', 3 '#2c728e', 4 '#21918c', 5 '#28ae80', 6 '#5ec962', 7 '#addc30', 8 '#fde725')
set multiplot
set lmargin at screen 0; set rmargin at screen 1; set tmargin at screen 1; set bmargin at screen 0
unset border; unset xtics; unset ytics
set arrow 100 from screen 0.0913, screen 0.9664 to screen 0.1389, screen 0.9664 nohead ls 1
set label 100 '' at screen 0.1151, screen 0.9664 point ls 1
set label 200 "dense" at screen 0.1508, screen 0.9664 left noenhanced
set arrow 101 from screen 0.2302, screen 0.9664 to screen 0.2778, screen 0.9664 nohead ls 2
set label 101 '' at screen 0.2540, screen 0.9664 point ls 2
set label 201 "sparse/s0.9-b16-fnever" at screen 0.2897, screen 0.9664 left noenhanced
set arrow 102 from screen 0.5298, screen 0.9664 to screen 0.5774, screen 0.9664 nohead ls 3
set label 102 '' at screen 0.5536, screen 0.9664 point ls 3
set label 202 "resa/s0.9-b16-f32" at screen 0.5893, screen 0.9664 left noenhanced
set xrange [0:1]
set yrange [0:1]
plot NaN notitle
unset arrow
unset label
set border 3 lw 0.5
set xtics nomirror out
set ytics nomirror out
set logscale xy
set xrange [3150.77:340787]
set yrange [2.406:31.84]
set ylabel 'ms' offset 1.5
set xtics nomirror out ('4K' 4096, '16K' 16384, '64K' 65536, '128K' 131072, '256K' 262144)
unset label
unset arrow
set lmargin at screen 0.0913; set rmargin at screen 0.3492; set tmargin at screen 0.8692; set bmargin at screen 0.1682
set label 2 "batch 1" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0374 center noenhanced
plot $t1_0 using 1:2 with linespoints ls 1, $t1_0 using 1:3 with lines lc rgb '#000000' lw 0.6 dt 3, $t1_1 using 1:2 with linespoints ls 2, $t1_1 using 1:3 with lines lc rgb '#0072B2' lw 0.6 dt 3, $t1_2 using 1:2 with linespoints ls 3, $t1_2 using 1:3 with lines lc rgb '#D55E00' lw 0.6 dt 3
unset label
unset arrow
set lmargin at screen 0.4087; set rmargin at screen 0.6667; set tmargin at screen 0.8692; set bmargin at screen 0.1682
set label 2 "batch 6" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0374 center noenhanced
plot $t6_0 using 1:2 with linespoints ls 1, $t6_0 using 1:3 with lines lc rgb '#000000' lw 0.6 dt 3, $t6_1 using 1:2 with linespoints ls 2, $t6_1 using 1:3 with lines lc rgb '#0072B2' lw 0.6 dt 3, $t6_2 using 1:2 with linespoints ls 3, $t6_2 using 1:3 with lines lc rgb '#D55E00' lw 0.6 dt 3
unset label
unset arrow
set lmargin at screen 0.7262; set rmargin at screen 0.9841; set tmargin at screen 0.8692; set bmargin at screen 0.1682
set label 2 "batch 8" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0374 center noenhanced
plot $t8_0 using 1:2 with linespoints ls 1, $t8_0 using 1:3 with lines lc rgb '#000000' lw 0.6 dt 3, $t8_1 using 1:2 with linespoints ls 2, $t8_1 using 1:3 with lines lc rgb '#0072B2' lw 0.6 dt 3, $t8_2 using 1:2 with linespoints ls 3, $t8_2 using 1:3 with lines lc rgb '#D55E00' lw 0.6 dt 3
unset multiplot
set output
}
