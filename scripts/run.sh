#!/usr/bin/env bash
# A hub with this machine's own agent beside it, as a person would start them,
# for the browser by the link that is printed, and live readings through the
# hub's API until Ctrl-C. Nothing outside of the
# data folder is touched; what was collected stays for the next time.
#
#   TOMTE_RUN_DATA    the data folder (~/.local/state/tomte)
#   TOMTE_RUN_LISTEN  where the hub listens (127.0.0.1:8420)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

data=${TOMTE_RUN_DATA:-${XDG_STATE_HOME:-$HOME/.local/state}/tomte}
listen=${TOMTE_RUN_LISTEN:-127.0.0.1:8420}
hub_data=$data/hub
agent_config=$data/agent/agent.toml

# What a shell has set for another hub does not count here.
unset TOMTE_URL TOMTE_TOKEN

scripts/web.sh try
cargo build --release --locked --package tomte --package tomte-agent
bin=${CARGO_TARGET_DIR:-target}/release

mkdir -p "$hub_data" "${agent_config%/*}"
chmod go-rwx "$data"

children=()
finish() {
  trap - EXIT INT TERM
  # The agent first: it says goodbye, and the hub is still there to hear it.
  for ((i = ${#children[@]} - 1; i >= 0; i--)); do
    kill -TERM "${children[i]}" 2>/dev/null || continue
    wait "${children[i]}" 2>/dev/null || true
  done
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Shows why a program ended, and ends.
gave_up() {
  echo "$1 did not start. The end of $2:" >&2
  tail -n 20 "$2" >&2
  exit 1
}

# Whether the hub answers: GET /healthz, without a client that may be missing.
healthy() {
  local answer
  exec 3<>"/dev/tcp/${listen%:*}/${listen##*:}" || return 1
  printf 'GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$listen" >&3
  read -r -t 2 answer <&3 || answer=
  exec 3>&-
  [[ $answer == *" 200 "* ]]
} 2>/dev/null

if healthy; then
  echo "Something answers at $listen already. Stop it, or set TOMTE_RUN_LISTEN=127.0.0.1:PORT" >&2
  exit 1
fi

# Each in a session of its own, so that Ctrl-C reaches this script alone.
setsid "$bin/tomte" hub --data "$hub_data" --listen "$listen" >"$data/hub.out" 2>"$data/hub.log" &
hub=$!
children+=("$hub")
until healthy; do
  kill -0 "$hub" 2>/dev/null || gave_up "The hub" "$data/hub.log"
  sleep 0.1
done

if [[ ! -e $agent_config ]]; then
  # The API's rule for names; the machine's own name becomes an alias.
  name=$(uname -n | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9._\n-' '-')
  # Enrolled by hand before, and then the agent's folder was removed: another name.
  code=$("$bin/tomte" host add "$name" --code-only --data "$hub_data" 2>/dev/null) ||
    code=$("$bin/tomte" host add "$name-$$" --code-only --data "$hub_data")
  "$bin/tomte-agent" enroll "http://$listen" --code - --config "$agent_config" <<<"$code"
fi

setsid "$bin/tomte-agent" run --config "$agent_config" 2>"$data/agent.log" >&2 &
agent=$!
children+=("$agent")

# Printed as long as there is no account; afterwards one signs in by name.
sign_in=$(sed -n 's/^Sign in, works once: //p' "$data/hub.out")

echo
echo "  browser  ${sign_in:-http://$listen}${sign_in:+   (works once)}"
echo "  data     $data   (logs: hub.log, agent.log)"
echo "  explore  $bin/tomte host list --data $hub_data"
echo "  stop     Ctrl-C"
echo
sleep 1
kill -0 "$agent" 2>/dev/null || gave_up "The agent" "$data/agent.log"
"$bin/tomte" watch --data "$hub_data" --every 2s
