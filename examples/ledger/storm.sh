#!/usr/bin/env bash
# Kills API, provider and database at random while clients retry, and prints the books; status 1 where they do not
# balance. Environment: KILLS (100), SEED, and that of run.sh.
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/run.sh" storm
