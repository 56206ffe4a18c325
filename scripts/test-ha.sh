#!/usr/bin/env bash
# Runs the tests with the real Home Assistant, the oldest and the newest.
#
# They need a kit that starts Home Assistant and a broker on loopback
# (ha-up.sh, ha-down.sh, ha_states.py, ha_judge.py), named by $HA_KIT or found in
# ../shared/ha-kit. What it installs goes to $HA_ROOT, about 2 GB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

HA_KIT=$(realpath -m "${HA_KIT:-../shared/ha-kit}")
export HA_KIT
if [[ ! -x $HA_KIT/ha-up.sh ]]; then
  echo "SKIPPED: there is no kit to start Home Assistant with in $HA_KIT; set HA_KIT to where one is"
  exit 0
fi
if [[ $(id -u) != 0 ]]; then
  echo "SKIPPED: the kit to start Home Assistant with needs root"
  exit 0
fi
cargo test --locked --package tomte --test end_to_end home_assistant -- --ignored --nocapture --test-threads=1
