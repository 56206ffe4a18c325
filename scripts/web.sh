#!/usr/bin/env bash
# The browser UI: builds and tests it with the Node.js that is there.
#
#   scripts/web.sh build     install what it needs, check its types, build web/dist
#   scripts/web.sh try       the same where Node.js is there, nothing but a word where not
#   scripts/web.sh test      its unit tests
#   scripts/web.sh browser   a real browser against a real hub (target/debug/tomte demo)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../web"

PATH="${TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tomte/tools}/bin:$PATH"

# What Vite asks for.
new_enough() {
  command -v node >/dev/null && command -v npm >/dev/null &&
    node -e 'const [a, b] = process.versions.node.split("."); process.exit(+a > 20 || (+a === 20 && +b >= 19) ? 0 : 1)'
}

# The packages that the lock file names, unless they are there.
install() {
  [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --no-audit --no-fund --loglevel=error
}

# Whether web/dist is of the sources that are there.
fresh() {
  [[ -f dist/sources.txt ]] &&
    [[ $(<dist/sources.txt) == "$(node -e 'import("./build/sources.mjs").then((m) => console.log(m.fingerprint()))')" ]]
}

build() {
  install
  npm run --silent check
  if fresh; then
    npm run --silent size
  else
    npm run --silent build
  fi
}

case ${1:-} in
  build)
    new_enough || {
      echo "The browser UI needs Node.js 20.19 or newer, and npm; scripts/test-setup.sh web gets them." >&2
      exit 1
    }
    build
    ;;
  try)
    if ! new_enough; then
      echo "Without Node.js 20.19 or newer the hub is built without its browser UI."
    elif ! fresh; then
      build
    fi
    ;;
  test)
    install
    npm run --silent test
    ;;
  browser)
    install
    npm run --silent test:browser
    ;;
  *)
    echo "what is ${1:-nothing}? There are build, try, test and browser" >&2
    exit 2
    ;;
esac
