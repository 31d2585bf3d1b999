#!/usr/bin/env bash
# What the layer costs a server over HTTP: the same axum app, bare and layered in turn, under a load generator on another
# core. Printed are medians over the rounds: server CPU per request, its ratio layered / bare within each round, and the
# latency that the load generator saw.
#
#     bash benches/http.sh
#
# About five minutes and, the first time, as many to build. It listens on 127.0.0.1 only. By environment:
#
#     ROUNDS=5  DURATION=1s  CONNECTIONS="1 16 256"  PROTOCOLS="1.1 2"  CASES="first replay no-key"
#     LAYER=around (the router, as in the crate documentation) or inside (Router::layer)
#     SERVER_CORE=0  LOAD_CORE=1
#
# Read the ratios: a round is a bare server and a layered one, one right after the other. CPU is that of the server's
# process, user and system, so that it does not matter whether the load generator keeps up. Latency is that of a server
# that is as busy as one core can be: it grows with the connections, and compares, no more.
#
#     first    a path that is new with each request, and so a new record: the key is the same, its scope is not
#     replay   one path, one key
#     no-key   one path
#
# Bare servers get the same requests, key and path. Each run has a server of its own, so that no store fills.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export LC_ALL=C

rounds=${ROUNDS:-5} duration=${DURATION:-1s} layer=${LAYER:-around}
read -ra connections <<<"${CONNECTIONS:-1 16 256}"
read -ra protocols <<<"${PROTOCOLS:-1.1 2}"
read -ra cases <<<"${CASES:-first replay no-key}"
server_core=${SERVER_CORE:-0} load_core=${LOAD_CORE:-1}

oha_version=1.16.0
oha=target/tools/bin/oha
# The store of the layer takes a million records, and then refuses.
most_requests=900000
key='idempotency-key: 0b4c6d1e-7f2a-4c39-9d58-2e61f0a7b3c5'
body=$(printf '{"amount":2000,"currency":"usd","description":"%0210d"}' 0)

die() {
  printf 'http.sh: %s\n' "$1" >&2
  exit 1
}

for tool in cargo curl taskset; do
  command -v "$tool" >/dev/null || die "$tool is missing: apt-get install curl util-linux, and cargo by rustup"
done
[ "$(nproc)" -ge 2 ] || die "needs two cores, one for the server and one for the load, and finds $(nproc)"
[ "$server_core" != "$load_core" ] || die "SERVER_CORE and LOAD_CORE are the same core"
for core in "$server_core" "$load_core"; do
  taskset -c "$core" true 2>/dev/null || die "core $core cannot be used: set SERVER_CORE and LOAD_CORE"
done
case $layer in around | inside) ;; *) die "LAYER is around or inside, and not $layer" ;; esac

if [ "$("$oha" --version 2>/dev/null)" != "oha $oha_version" ]; then
  cargo install oha --version "$oha_version" --locked --root target/tools ||
    die "oha could not be installed; it needs a C compiler: apt-get install build-essential"
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/peers}
cargo build --release --locked --manifest-path benches/peers/Cargo.toml --bin server
server=$CARGO_TARGET_DIR/release/server

scratch=$(mktemp -d)
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true
  pid=
}
trap 'stop; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

# Starts a server of that kind on a free port; sets $pid and $address.
start() {
  : >"$scratch/address"
  taskset -c "$server_core" "$server" "$1" >"$scratch/address" &
  pid=$!
  for _ in {1..100}; do
    read -r address <"$scratch/address" && return
    kill -0 "$pid" 2>/dev/null || die "the server has ended"
    sleep 0.02
  done
  die "the server does not listen"
}

# Nanoseconds that the server has been on a CPU; where the kernel does not say, its clock ticks.
cpu() {
  if [ -r "/proc/$pid/schedstat" ]; then
    cat "/proc/$pid"/task/*/schedstat | awk '{ sum += $1 } END { printf "%.0f\n", sum }'
  else
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); printf "%.0f\n", ($12 + $13) * 1e9 / hz }' "/proc/$pid/stat"
  fi
}

# One request of the case: 201, and a replay where it must be one.
check() {
  local path=$1 replayed=$2 answer
  local -a options=(-sS --noproxy '*' -D - -o /dev/null -d "$body" -H 'content-type: application/json')
  [ "$protocol" = 2 ] && options+=(--http2-prior-knowledge)
  [ "$case" = no-key ] || options+=(-H "$key")
  answer=$(curl "${options[@]}" "http://$address$path")
  grep -q "^HTTP/$protocol 201" <<<"$answer" || die "$case at $path is not answered 201: $answer"
  if grep -qi '^idempotent-replayed: true' <<<"$answer"; then
    [ "$replayed" = yes ] || die "$case at $path is a replay"
  else
    [ "$replayed" = no ] || die "$case at $path is not a replay"
  fi
}

# Load for that long. Prints how many were answered, all of them 201, and p50 and p99 in microseconds.
load() {
  local url="http://$address/v1/charges/0123456789abcdef01234567"
  local -a options=(--no-tui --output-format json --worker-threads 1 -w -z "$1" -c "$count")
  options+=(-m POST -T application/json -d "$body")
  [ "$protocol" = 2 ] && options+=(--http2)
  [ "$case" = no-key ] || options+=(-H "$key")
  if [ "$case" = first ]; then
    options+=(--rand-regex-url)
    url="http://$address/v1/charges/[0-9a-f]{24}"
  fi
  taskset -c "$load_core" "$oha" "${options[@]}" "$url" >"$scratch/load.json"
  awk '
    /"latencyPercentiles"/ { at = "latency" }
    /"statusCodeDistribution"/ { at = "status" }
    /"errorDistribution"/ { at = "error"; if ($0 !~ /[{][}]/) bad = 1 }
    /[}]/ { if (at != "error") at = "" }
    { gsub(/[",:]/, " ") }
    at == "latency" && $1 == "p50" { p50 = $2 * 1e6 }
    at == "latency" && $1 == "p99" { p99 = $2 * 1e6 }
    at == "status" && $1 == "201" { answered = $2 }
    at == "status" && $1 ~ /^[0-9]+$/ && $1 != "201" { bad = 1 }
    END { if (bad || !answered || !p50) exit 1; printf "%d %.0f %.0f\n", answered, p50, p99 }
  ' "$scratch/load.json" || {
    { sed -n '/statusCodeDistribution/,$p' "$scratch/load.json" && echo; } >&2
    die "not every $case was answered 201"
  }
}

# One run on a server of its own. Appends "CPU per request in ns, p50, p99" to the kind's figures.
run() {
  local kind=$1 replayed=no before after warm answered p50 p99
  start "$kind"
  check /v1/charges/0123456789abcdef01234567 no
  [ "$kind" = bare ] || [ "$case" != replay ] || replayed=yes
  [ "$case" = first ] || check /v1/charges/0123456789abcdef01234567 "$replayed"
  read -r warm _ < <(load 150ms) || die "no warm-up"
  before=$(cpu)
  read -r answered p50 p99 < <(load "$duration") || die "no load"
  after=$(cpu)
  stop
  [ "$case" != first ] || [ $((warm + answered)) -lt "$most_requests" ] ||
    die "$((warm + answered)) records nearly fill the store: set a shorter DURATION than $duration"
  awk -v cpu="$((after - before))" -v answered="$answered" -v p50="$p50" -v p99="$p99" \
    'BEGIN { printf "%.1f %d %d\n", cpu / answered, p50, p99 }' >>"$scratch/$kind"
}

# The median of a column of what it reads.
median() {
  awk -v column="$1" '{ print $column }' | sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

grep -m 1 'model name' /proc/cpuinfo | sed 's/.*: //' || true
rustc --version
printf '%s rounds of %s each, layer %s the router, server on core %s, oha %s on core %s\n' \
  "$rounds" "$duration" "$layer" "$server_core" "$oha_version" "$load_core"
printf '\n%-9s %11s  %-7s %26s %7s %16s %16s\n' '' '' '' 'server CPU, us/request' 'ratio' 'p50, us' 'p99, us'
printf '%-9s %11s  %-7s %13s %12s %7s %8s %7s %8s %7s\n' \
  protocol connections case bare layered '' bare layered bare layered

for protocol in "${protocols[@]}"; do
  for count in "${connections[@]}"; do
    for case in "${cases[@]}"; do
      rm -f "$scratch/bare" "$scratch/$layer"
      for ((round = 0; round < rounds; round++)); do
        if ((round % 2)); then order=("$layer" bare); else order=(bare "$layer"); fi
        for kind in "${order[@]}"; do run "$kind"; done
      done
      paste -d ' ' "$scratch/bare" "$scratch/$layer" >"$scratch/both"
      ratio=$(awk '{ print $4 / $1 }' "$scratch/both" | median 1)
      bare=$(median 1 <"$scratch/both")
      layered=$(median 4 <"$scratch/both")
      printf 'HTTP/%-4s %11s  %-7s %13.2f %12.2f %7.2f %8d %7d %8d %7d\n' "$protocol" "$count" "$case" \
        "$(awk -v ns="$bare" 'BEGIN { print ns / 1000 }')" "$(awk -v ns="$layered" 'BEGIN { print ns / 1000 }')" "$ratio" \
        "$(median 2 <"$scratch/both")" "$(median 5 <"$scratch/both")" \
        "$(median 3 <"$scratch/both")" "$(median 6 <"$scratch/both")"
    done
  done
done
