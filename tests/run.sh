#!/usr/bin/env bash
# The whole suite: unit, integration and documentation tests, and a build of the examples.
# Installs what is missing; further arguments go to `cargo test`, e.g. `bash tests/run.sh --test layout`.
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

# Installs the packages behind the commands that are missing: need COMMAND PACKAGES [COMMAND PACKAGES]...
need() {
  local -a commands=() packages=() more
  while [ $# -gt 0 ]; do
    if ! command -v "$1" >/dev/null; then
      commands+=("$1")
      read -r -a more <<<"$2"
      packages+=("${more[@]}")
    fi
    shift 2
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null ||
    fail "missing: ${commands[*]}. There is no apt-get here: install them by hand."
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null ||
    fail "missing: ${commands[*]}. Run as root: apt-get install ${packages[*]}"
  printf 'installing: %s\n' "${packages[*]}"
  apt update -qq
  apt install -qq -y --no-install-recommends "${packages[@]}"
}

if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then
  . "$HOME/.cargo/env"
fi
command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"

# `cc` links; `curl` is the client of the tests that speak HTTP from outside.
need cc "gcc libc6-dev" curl "curl ca-certificates"

exec cargo test --locked --profile ci --all-features "$@"
