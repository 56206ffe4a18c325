#!/usr/bin/env bash
# Runs every fuzz target for so many seconds. Needs cargo-fuzz and C++, and so is
# no part of the tests: those feed the same functions by proptest. Where there is
# a nightly toolchain, it is used; else the pinned one is told to do what only
# nightly ones do, without the address sanitizer, whose library comes with those.
#
#   scripts/fuzz.sh [SECONDS] [TARGET]...
#
# No input may take more than 64 MB beyond what a target takes that has done nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-60}
shift || true
if ! cargo fuzz --version >/dev/null 2>&1; then
  echo "cargo-fuzz is not installed: cargo install cargo-fuzz --locked" >&2
  exit 1
fi
if cargo +nightly --version >/dev/null 2>&1; then
  fuzz=(cargo +nightly fuzz)
  options=()
  # The sanitizer keeps what was freed, to find who still uses it.
  memory=1024
else
  echo "no nightly toolchain: without the address sanitizer"
  export RUSTC_BOOTSTRAP=1
  fuzz=(cargo fuzz)
  options=(--sanitizer none)
  memory=160
fi
targets=("$@")
if ((${#targets[@]} == 0)); then
  mapfile -t targets < <("${fuzz[@]}" list)
fi
for target in "${targets[@]}"; do
  echo "==> $target, $seconds s"
  "${fuzz[@]}" run "${options[@]}" "$target" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb="$memory" -malloc_limit_mb=64 -timeout=5
done
