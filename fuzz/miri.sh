#!/usr/bin/env bash
# The unit tests of what works on bytes and records alone, under Miri: some minutes. Further arguments go to the tests,
# e.g. `bash fuzz/miri.sh store::wire`; PROPTEST_CASES is how many cases each property gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pure=(body:: canonical:: cors:: endpoint:: form:: framing:: fuzzing:: key:: key_policy:: parameters:: pointer:: policy::
  quoted:: refusal:: scope:: snapshot:: source:: store::claim:: store::memory:: store::wire::)
[ $# -eq 0 ] || pure=("$@")

# The properties look for their seeds on disk.
export MIRIFLAGS="${MIRIFLAGS:-} -Zmiri-disable-isolation" PROPTEST_CASES="${PROPTEST_CASES:-4}"
exec cargo +nightly miri test --locked --all-features --lib -- "${pure[@]}"
