# The plot of the scale benchmark: gnuplot -c plot.gnuplot scale.tsv scale.svg

file = ARG1
# White behind it, so that it can be read on a dark page too.
set terminal svg size 960,600 fixed font "sans-serif,12" background "#ffffff"
set output ARG2
set encoding utf8
set datafile separator "\t"
set datafile missing NaN

# The file has rows of axis, at, case, ns. These take those of one axis and one case; times in microseconds.
x(axis, name) = (strcol(1) eq axis && strcol(3) eq name) ? $2 : NaN
y(axis, name) = (strcol(1) eq axis && strcol(3) eq name) ? $4 / 1000.0 : NaN

set border 3 lc rgb "#555555"
set tics nomirror out scale 0.5 tc rgb "#333333"
set grid ytics lc rgb "#e4e4e4" lt 1
set key top left Left reverse samplen 2 tc rgb "#333333"
set title tc rgb "#111111"
set mxtics 1
set mytics 1
set ylabel "µs of CPU time, log scale" tc rgb "#333333"
set logscale y
set format y "%g"
set style line 1 lc rgb "#c0392b" lw 2 pt 7 ps 0.6
set style line 2 lc rgb "#1f77b4" lw 2 pt 5 ps 0.6
set style line 3 lc rgb "#7f7f7f" lw 2 pt 9 ps 0.7
set style line 4 lc rgb "#b8860b" lw 2 dt 2 pt 13 ps 0.8

set multiplot layout 2,3 margins 0.075,0.985,0.1,0.94 spacing 0.08,0.2

set title "records in the store"
set xlabel "records, log scale" tc rgb "#333333"
set logscale x
set format x "10^{%T}"
set xrange [700:14000000]
set yrange [0.1:30]
plot file using (x("records", "first")):(y("records", "first")) with linespoints ls 1 title "first", \
     file using (x("records", "replay")):(y("records", "replay")) with linespoints ls 2 title "replay"

set title "length of the key"
set xlabel "bytes, log scale"
set format x "%g"
set xtics (8, 16, 36, 64, 128, 255)
set xrange [7:290]
plot file using (x("key bytes", "first")):(y("key bytes", "first")) with linespoints ls 1 title "first", \
     file using (x("key bytes", "replay")):(y("key bytes", "replay")) with linespoints ls 2 title "replay", \
     file using (x("key bytes", "bare")):(y("key bytes", "bare")) with linespoints ls 3 title "bare service"

set title "headers of the response"
set xlabel "headers"
unset logscale x
set xtics autofreq
set xrange [-0.5:30.5]
plot file using (x("headers", "first")):(y("headers", "first")) with linespoints ls 1 title "first", \
     file using (x("headers", "replay")):(y("headers", "replay")) with linespoints ls 2 title "replay", \
     file using (x("headers", "bare")):(y("headers", "bare")) with linespoints ls 3 title "bare service"

set title "body of the request"
set xlabel "bytes, log scale"
set logscale x 2
set xrange [220:1250000]
set xtics ("256" 256, "1 KiB" 1024, "8 KiB" 8192, "64 KiB" 65536, "1 MiB" 1048576)
set yrange [0.1:2000]
plot file using (x("body bytes", "first")):(y("body bytes", "first")) with linespoints ls 1 title "first", \
     file using (x("body bytes", "replay")):(y("body bytes", "replay")) with linespoints ls 2 title "replay", \
     file using (x("body bytes", "SHA-256")):(y("body bytes", "SHA-256")) with linespoints ls 4 title "SHA-256 alone", \
     file using (x("body bytes", "bare")):(y("body bytes", "bare")) with linespoints ls 3 title "bare service"

set title "requests that wait for one key"
set xlabel "waiters, log scale"
set ylabel "µs for each, log scale"
set logscale x 10
set xtics autofreq
set format x "10^{%T}"
set xrange [0.8:13000]
set yrange [0.1:100]
plot file using (x("waiters", "each")):(y("waiters", "each")) with linespoints ls 1 title "until all are answered"

# What all of them have in common stands in the last place.
unset logscale
unset border
unset tics
unset title
unset xlabel
unset ylabel
set xrange [0:1]
set yrange [0:1]
set key off
set label 1 "Unless a panel varies it: a 256 B request,\na 36 B key, a 512 B response, one header,\nMemoryStore, on one thread.\n\nfirst: runs and is recorded\nreplay: answered from the record\nbare service: without the layer" at -0.1,0.85 left tc rgb "#333333"
plot NaN

unset multiplot
