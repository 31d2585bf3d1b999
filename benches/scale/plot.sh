#!/usr/bin/env bash
# Runs the scale benchmark and plots its figures: benches/scale/scale.tsv and scale.svg.
#
#   bash benches/scale/plot.sh            # both, in about two minutes
#   bash benches/scale/plot.sh --replot   # the plot alone, from the figures that are there
set -euo pipefail
cd "$(dirname "$0")/../.."
figures=$PWD/benches/scale/scale.tsv
plot=$PWD/benches/scale/scale.svg

if ! command -v gnuplot > /dev/null; then
  sudo=$(command -v sudo || true)
  if ! command -v apt-get > /dev/null; then
    echo "gnuplot is missing: install gnuplot (5.2 or later) and run this again" >&2
    exit 1
  fi
  if ! { $sudo apt-get update -q && $sudo apt-get install -y -q gnuplot-nox; }; then
    echo "gnuplot could not be installed: apt-get install gnuplot-nox" >&2
    exit 1
  fi
fi

# Beside what is there, so that a run that fails leaves it alone.
trap 'rm -f "$figures.new" "$plot.new"' EXIT
if [ "${1:-}" = --replot ]; then
  cp "$figures" "$figures.new"
else
  cargo bench --locked --bench scale -- "$figures.new"
fi
if [ "$(wc -l < "$figures.new")" -lt 60 ]; then
  echo "figures are missing in $figures.new" >&2
  trap - EXIT
  exit 1
fi
LC_ALL=C.UTF-8 gnuplot -c benches/scale/plot.gnuplot "$figures.new" "$plot.new"
mv "$figures.new" "$figures"
mv "$plot.new" "$plot"
echo "$plot"
