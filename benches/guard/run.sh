#!/usr/bin/env bash
# Instructions and allocations of every case against those in costs.tsv: a change that costs more is noticed, whatever
# the machine does beside it. After an intended change:
#
#   bash benches/guard/run.sh --write
#
# and commit costs.tsv with it. The counts are those of one release of Rust, named in costs.rustc; those of another one are
# shown, and not judged.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../../target/guard}"

if ! command -v valgrind >/dev/null; then
  echo "installing: valgrind"
  apt=(apt-get)
  [ "$(id -u)" -eq 0 ] || apt=(sudo apt-get)
  "${apt[@]}" update -qq
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -qq -y --no-install-recommends valgrind libc6-dbg
fi

rustc=$(rustc --version)
count=(cargo run --quiet --release --locked --)
if [ "${1:-}" = --write ]; then
  "${count[@]}" --write costs.tsv
  printf '%s\n' "$rustc" >costs.rustc
elif [ "$rustc" = "$(cat costs.rustc)" ]; then
  "${count[@]}" --check costs.tsv
else
  printf '%s, while costs.tsv is of %s: not compared\n' "$rustc" "$(cat costs.rustc)"
  "${count[@]}"
fi
