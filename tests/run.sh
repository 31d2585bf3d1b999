#!/usr/bin/env bash
# The whole suite: unit, integration and documentation tests, and a build of the examples.
# Installs what is missing; further arguments go to `cargo test`, e.g. `bash tests/run.sh --test layout`.
# TEST_PYTHON names a Python that has tests/python/requirements.txt; without it one is made in target/python.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  printf 'tests/run.sh: %s\n' "$*" >&2
  exit 1
}

# Calls apt-get as root, by sudo where needed.
apt() {
  if [ "$(id -u)" -eq 0 ]; then
    DEBIAN_FRONTEND=noninteractive apt-get "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@"
  fi
}

# Installs the packages behind what is missing: need NAME CHECK PACKAGES [NAME CHECK PACKAGES]...
need() {
  local -a missing=() packages=() more
  while [ $# -gt 0 ]; do
    if ! $2 >/dev/null 2>&1; then
      missing+=("$1")
      read -r -a more <<<"$3"
      packages+=("${more[@]}")
    fi
    shift 3
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    fail "missing: ${missing[*]}. There is no apt-get here: install them by hand."
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
    fail "missing: ${missing[*]}. Run as root: apt-get install ${packages[*]}"
  printf 'installing: %s\n' "${packages[*]}"
  apt update -qq
  apt install -qq -y --no-install-recommends "${packages[@]}"
}

# The packages put servers beside PATH.
has_postgres() {
  command -v initdb || ls /usr/lib/postgresql/*/bin/initdb || ls "$(pg_config --bindir)/initdb"
}

has_pgbouncer() {
  command -v pgbouncer || ls /usr/sbin/pgbouncer
}

# Without `ensurepip`, which is a package of its own, an environment comes without pip.
makes_environments() {
  python3 -c 'import ensurepip, venv'
}

# Makes target/python by tests/python/requirements.txt, unless it is there and still answers.
environment() {
  local wanted=tests/python/requirements.txt made=target/python
  if cmp -s "$wanted" "$made/requirements.txt" && "$made/bin/python3" -c 'import rfc8785' 2>/dev/null; then
    return
  fi
  need "python3 with venv" makes_environments "python3 python3-venv"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$(python3 --version) is too old for the clients of the tests: 3.10 at least"
  printf 'installing: %s\n' "$made"
  python3 -m venv --clear "$made" || fail "no Python environment can be made in $made"
  "$made/bin/python3" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --require-hashes --requirement "$wanted" || fail "$wanted cannot be installed in $made"
  cp "$wanted" "$made/"
}

if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
  . "$HOME/.cargo/env"
fi
command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"

# `cc` links; `curl` is a client of the tests that speak HTTP from outside, and so is what Python has. The tests of the
# Redis and PostgreSQL stores start servers of their own, never the services that the packages may start; `openssl` makes
# certificates.
need cc "command -v cc" "gcc libc6-dev" curl "command -v curl" "curl ca-certificates" \
  redis-server "command -v redis-server" redis-server redis-cli "command -v redis-cli" redis-tools \
  openssl "command -v openssl" openssl postgresql has_postgres postgresql pgbouncer has_pgbouncer pgbouncer
redis=$(redis-server --version | sed -n 's/.*v=\([0-9.]*\).*/\1/p')
printf 'redis-server: %s\n' "$redis"
[ "${redis%%.*}" -ge 6 ] || fail "redis-server $redis is too old: 6.0 at least"
[ -n "${TEST_PYTHON:-}" ] || environment

tests=(--locked --profile ci --all-features)
# A whole run builds the examples, which tests start, by itself; a part of it would take what is there.
[ $# -eq 0 ] || cargo build "${tests[@]}" --examples

exec cargo test "${tests[@]}" "$@"
