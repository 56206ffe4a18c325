#!/usr/bin/env bash
# Licences, sources and bans of all dependencies, by deny.toml. Advisories too
# where their database has been fetched before (make advisories): a check that
# must pass may not hang on a fetch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v cargo-deny >/dev/null; then
  echo "SKIPPED: cargo-deny is not installed, so dependencies were not checked (scripts/test-setup.sh lint builds it)"
  exit 0
fi

cargo deny --locked --log-level warn check bans licenses sources

databases=("${CARGO_HOME:-$HOME/.cargo}"/advisory-db*/*/)
if [[ -d ${databases[0]} ]]; then
  cargo deny --locked --log-level warn check --disable-fetch advisories
else
  echo "SKIPPED: advisories were not checked, their database is not on this machine (make advisories fetches it)"
fi
