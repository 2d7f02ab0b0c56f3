# latency-parts.gp: gnuplot -d latency-parts.gp makes latency-parts.svg, latency-parts.pdf and latency-parts.png of it.
$p1 << EOD
-0.4000 -0.1600 0 3.45979 3.45979 3.93718 4.12557 4.12557 4.47514
-0.1333 0.1067 0 3.45774 3.71842 4.03698 4.29994 4.29994 4.65469
0.1333 0.3733 0 3.46077 3.72243 4.0413 4.30405 4.46288 4.82297
0.6000 0.8400 0 3.46411 3.46411 4.23106 4.41749 4.41749 4.87349
0.8667 1.1067 0 3.46104 3.75707 4.16408 4.42194 4.42194 4.8377
1.1333 1.3733 0 3.46267 3.75885 4.16626 4.42392 4.6026 5.0092
1.6000 1.8400 0 3.47749 3.47749 5.14891 5.33603 5.33603 5.67714
1.8667 2.1067 0 3.47843 3.87002 4.42394 4.68546 4.68546 5.05592
2.1333 2.3733 0 3.47739 3.86941 4.4225 4.68418 4.90768 5.27779
2.6000 2.8400 0 3.46018 3.46018 6.07856 6.26528 6.26528 6.50659
2.8667 3.1067 0 3.46045 3.94235 4.65386 4.91336 4.91336 5.33546
3.1333 3.3733 0 3.45968 3.94192 4.65323 4.91266 5.21368 5.63689
3.6000 3.8400 0 3.45768 3.45768 7.82838 8.01466 8.01466 8.21507
3.8667 4.1067 0 3.45776 4.25365 5.3068 5.566 5.566 5.94739
4.1333 4.3733 0 3.45885 4.25747 5.31288 5.57291 6.0278 6.40338
EOD
$p6 << EOD
-0.4000 -0.1600 0 3.51571 3.51571 24.1371 24.3322 24.3322 24.4949
-0.1333 0.1067 0 3.51606 5.29734 8.24021 8.51501 8.51501 8.61776
0.1333 0.3733 0 3.51365 5.29597 8.23814 8.51208 10.5595 10.6598
EOD
$p8 << EOD
-0.4000 -0.1600 0 3.52034 3.52034 4.4832 4.67877 4.67877 4.79814
-0.1333 0.1067 0 3.5201 3.80934 4.22013 4.49424 4.49424 4.71203
0.1333 0.3733 0 3.52094 3.81035 4.22022 4.49419 5.06558 5.28636
0.6000 0.8400 0 3.53453 3.53453 5.93424 6.13021 6.13021 6.30427
0.8667 1.1067 0 3.53341 3.88571 4.52683 4.79832 4.79832 5.06402
1.1333 1.3733 0 3.53366 3.88632 4.52669 4.79838 5.48777 5.75648
1.6000 1.8400 0 3.52851 3.52851 11.1712 11.3666 11.3666 11.5341
1.8667 2.1067 0 3.52875 4.26501 5.53728 5.81022 5.81022 5.98248
2.1333 2.3733 0 3.5273 4.26322 5.53686 5.81045 6.92043 7.08852
2.6000 2.8400 0 3.52779 3.52779 17.6803 17.8757 17.8757 18.0241
2.8667 3.1067 0 3.52765 4.61256 6.69843 6.97243 6.97243 7.17552
3.1333 3.3733 0 3.5296 4.61352 6.70118 6.97398 8.61173 8.81018
EOD
do for [kind in 'svg pdf png'] {
if (kind eq 'svg') {
  set terminal svg size 504,226 dynamic enhanced font 'sans-serif,8' name 'latency_parts' background rgb 'white'
}
if (kind eq 'pdf') {
  set terminal pdfcairo size 7.0000in,3.1389in enhanced font 'sans-serif,8' fontscale 0.75 linewidth 2 background rgb 'white'
}
if (kind eq 'png') {
  set terminal pngcairo size 1512,678 enhanced font 'sans-serif,8' fontscale 2.25 linewidth 3 pointscale 3 background rgb 'white'
}
set output 'latency-parts.'.kind
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
set arrow 100 from screen 0.0913, screen 0.9681 to screen 0.1389, screen 0.9681 nohead ls 2
set label 200 "products" at screen 0.1508, screen 0.9681 left noenhanced
set arrow 101 from screen 0.2579, screen 0.9681 to screen 0.3056, screen 0.9681 nohead ls 6
set label 201 "score and select" at screen 0.3175, screen 0.9681 left noenhanced
set arrow 102 from screen 0.5000, screen 0.9681 to screen 0.5476, screen 0.9681 nohead ls 3
set label 202 "attention" at screen 0.5595, screen 0.9681 left noenhanced
set arrow 103 from screen 0.6766, screen 0.9681 to screen 0.7242, screen 0.9681 nohead ls 8
set label 203 "the rest" at screen 0.7361, screen 0.9681 left noenhanced
set arrow 104 from screen 0.0913, screen 0.9150 to screen 0.1389, screen 0.9150 nohead ls 5
set label 204 "rectification, a token's share" at screen 0.1508, screen 0.9150 left noenhanced
set xrange [0:1]
set yrange [0:1]
plot NaN notitle
unset arrow
unset label
set border 3 lw 0.5
set xtics nomirror out
set ytics nomirror out
set ylabel 'ms' offset 1.5
set yrange [0:*]
unset label
unset arrow
set lmargin at screen 0.0913; set rmargin at screen 0.3492; set tmargin at screen 0.8230; set bmargin at screen 0.1593
set label 2 "batch 1" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0354 center noenhanced
set xtics nomirror out ('4K' 0, '16K' 1, '64K' 2, '128K' 3, '256K' 4)
set xrange [-0.6:4.6]
plot $p1 using 1:3:1:2:3:4 with boxxyerror fs solid 0.85 noborder lc rgb '#0072B2', $p1 using 1:4:1:2:4:5 with boxxyerror fs solid 0.85 noborder lc rgb '#E69F00', $p1 using 1:5:1:2:5:6 with boxxyerror fs solid 0.85 noborder lc rgb '#D55E00', $p1 using 1:6:1:2:6:7 with boxxyerror fs solid 0.85 noborder lc rgb '#7F7F7F', $p1 using 1:7:1:2:7:8 with boxxyerror fs solid 0.85 noborder lc rgb '#CC79A7', $p1 using (($1+$2)/2):9 with points pt 2 ps 0.6 lc rgb '#000000'
unset label
unset arrow
set lmargin at screen 0.4087; set rmargin at screen 0.6667; set tmargin at screen 0.8230; set bmargin at screen 0.1593
set label 2 "batch 6" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0354 center noenhanced
set xtics nomirror out ('256K' 0)
set xrange [-0.6:0.6]
plot $p6 using 1:3:1:2:3:4 with boxxyerror fs solid 0.85 noborder lc rgb '#0072B2', $p6 using 1:4:1:2:4:5 with boxxyerror fs solid 0.85 noborder lc rgb '#E69F00', $p6 using 1:5:1:2:5:6 with boxxyerror fs solid 0.85 noborder lc rgb '#D55E00', $p6 using 1:6:1:2:6:7 with boxxyerror fs solid 0.85 noborder lc rgb '#7F7F7F', $p6 using 1:7:1:2:7:8 with boxxyerror fs solid 0.85 noborder lc rgb '#CC79A7', $p6 using (($1+$2)/2):9 with points pt 2 ps 0.6 lc rgb '#000000'
unset label
unset arrow
set lmargin at screen 0.7262; set rmargin at screen 0.9841; set tmargin at screen 0.8230; set bmargin at screen 0.1593
set label 2 "batch 8" at graph 0.5, graph 1 center noenhanced offset 0,0.6
set label 8 "context (tokens)" at graph 0.5, screen 0.0354 center noenhanced
set xtics nomirror out ('4K' 0, '16K' 1, '64K' 2, '128K' 3)
set xrange [-0.6:3.6]
plot $p8 using 1:3:1:2:3:4 with boxxyerror fs solid 0.85 noborder lc rgb '#0072B2', $p8 using 1:4:1:2:4:5 with boxxyerror fs solid 0.85 noborder lc rgb '#E69F00', $p8 using 1:5:1:2:5:6 with boxxyerror fs solid 0.85 noborder lc rgb '#D55E00', $p8 using 1:6:1:2:6:7 with boxxyerror fs solid 0.85 noborder lc rgb '#7F7F7F', $p8 using 1:7:1:2:7:8 with boxxyerror fs solid 0.85 noborder lc rgb '#CC79A7', $p8 using (($1+$2)/2):9 with points pt 2 ps 0.6 lc rgb '#000000'
unset multiplot
set output
}
