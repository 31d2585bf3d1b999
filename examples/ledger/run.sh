#!/usr/bin/env bash
# A private PostgreSQL, the provider and the API, until Ctrl-C; all that they leave is removed.
# `run.sh storm` kills all three at random instead, while clients retry, and prints the books: see storm.sh.
# Environment: ADDR and PROVIDER_ADDR (the first free ports from 3000 on), LEASE_SECS, PROFILE of cargo (dev),
# LEDGER (the program where it is built; otherwise cargo does it).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
  printf 'ledger: %s\n' "$*" >&2
  exit 1
}

# The first port, from this one on, where nobody listens.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
    port=$((port + 1))
  done
  printf '%s\n' "$port"
}

# Runs a part of the program in the place of this shell, so that signals are its own.
cargo=(--quiet --locked --profile "${PROFILE:-dev}" --example ledger)
ledger() {
  if [ -n "${LEDGER:-}" ]; then
    exec "$LEDGER" "$1"
  fi
  exec cargo run "${cargo[@]}" -- "$1"
}

# On PATH, or where the packages put it, the latest version last.
initdb=$(command -v initdb || find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
[ -n "$initdb" ] || fail "PostgreSQL is missing. Install it: apt-get install postgresql"
# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" -eq 0 ]; then
  id postgres >/dev/null 2>&1 || fail "there is no user postgres to run it as. Make one: useradd --system postgres"
  as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi

if [ -z "${LEDGER:-}" ]; then
  command -v cargo >/dev/null || fail "cargo is missing. Install Rust: https://rustup.rs"
  cargo build "${cargo[@]}"
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/ledger-XXXXXX")
started=()
database=
finish() {
  trap - EXIT INT TERM
  : >"$folder/over"
  # The API comes to the end of what it has begun, then the database is told to.
  for process in ${started[@]+"${started[@]}"}; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  while [ -n "$database" ] && kill -0 "$database" 2>/dev/null; do
    kill -QUIT "$(head -n 1 "$folder/data/postmaster.pid" 2>/dev/null)" 2>/dev/null || true
    sleep 0.1
  done
  rm -rf -- "$folder"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$folder/data"
if [ "$(id -u)" -eq 0 ]; then
  chown -R postgres "$folder"
fi
(cd / && ${as[@]+"${as[@]}"} "$initdb" -D "$folder/data" -U postgres --auth=trust --no-sync) >"$folder/log" 2>&1 ||
  fail "initdb: $(tail -n 3 "$folder/log")"

# What was written outlives the process without a sync, which is for machines that lose their power: a storm does not
# wait for the disk.
sync=on
[ "${1:-}" != storm ] || sync=off

# Whoever is killed is started again. It listens on a socket in the folder, on no port.
keep_database() {
  cd /
  while [ ! -e "$folder/over" ]; do
    ${as[@]+"${as[@]}"} "${initdb%/*}/postgres" -D "$folder/data" -c listen_addresses= \
      -c "unix_socket_directories=$folder" -c "fsync=$sync" || true
    sleep 0.1
  done
}
keep_database >>"$folder/log" 2>&1 </dev/null &
database=$!

export DATABASE_URL="postgres://postgres@localhost/postgres?host=$folder" DATABASE_FOLDER="$folder/data"
export PROVIDER_FILE="$folder/provider.jsonl"
export ADDR="${ADDR:-127.0.0.1:$(free_port 3000)}"
export PROVIDER_ADDR="${PROVIDER_ADDR:-127.0.0.1:$(free_port $((${ADDR##*:} + 1)))}"
SECONDS=0
until why=$(ledger migrate 2>&1); do
  [ "$SECONDS" -lt 60 ] || fail "PostgreSQL did not start: $why"
  sleep 0.2
done

if [ "${1:-}" = storm ]; then
  export LEASE_SECS="${LEASE_SECS:-2}"
  ledger storm &
  started+=($!)
  wait $!
  exit
fi

ledger serve >/dev/null &
started+=($!)
ledger provider >/dev/null &
started+=($!)
for address in "$ADDR" "$PROVIDER_ADDR"; do
  until (exec 3<>"/dev/tcp/${address%:*}/${address##*:}") 2>/dev/null; do
    kill -0 "${started[@]}" 2>/dev/null || fail "it has not started"
    sleep 0.1
  done
done
cat <<EOF

The ledger is at http://$ADDR, its provider at http://$PROVIDER_ADDR, and its database is

  psql -h $folder -U postgres

Try, each of them twice:

  curl -i http://$ADDR/v1/accounts -H "Authorization: Bearer sk_alice" -H "Idempotency-Key: account-1" -X POST
  curl -i http://$ADDR/v1/accounts -H "Authorization: Bearer sk_alice" -H "Idempotency-Key: account-2" -X POST
  curl -i http://$ADDR/v1/payments -H "Authorization: Bearer sk_alice" -H "Idempotency-Key: payment-1" \\
    -H "Content-Type: application/json" -d '{"account": 1, "cents": 5000, "card": "visa"}'
  curl -i http://$ADDR/v1/transfers -H "Authorization: Bearer sk_alice" -H "Idempotency-Key: transfer-1" \\
    -H "Content-Type: application/json" -d '{"from": 1, "to": 2, "cents": 1500}'
  curl http://$ADDR/v1/books

Cards are "visa", "declined", "failing", "slow" or "silent": the last one is charged, and the first call never answered.
Ctrl-C ends all of it.

EOF
wait "${started[0]}"
