#!/usr/bin/env bash
# Installs what tests and checks need and this machine lacks.
#
#   scripts/test-setup.sh [lint] [test] [web] [musl] [bench] [vm]      (test when nothing is said)
#
# Whole programs come by apt where this may be done (root, or sudo without a
# password); otherwise it says what to install and fails. Where only one program
# of a package is wanted, the package is fetched and the program taken out of
# it into $TOOLS, so that no service is installed or started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=${TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tomte/tools}
PATH="$tools/bin:$PATH"
cargo_deny_version=0.20.2
bottom_version=0.15.0
musl=x86_64-unknown-linux-musl

say() { echo "test-setup: $*"; }
fail() {
  say "$*" >&2
  exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# How to be root, without being asked anything: at once, by sudo, or not at all.
if [[ $(id -u) == 0 ]]; then
  as_root=(env)
elif has sudo && sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  as_root=()
fi
may_be_root() { ((${#as_root[@]})); }

# apt-get as root, without questions, waiting for another one to end.
apt_as_root() {
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
}

# The lists of packages may be missing (a fresh image) or old: fetched once,
# when something is to be installed.
lists_are_fresh=no
fetch_lists() {
  [[ $lists_are_fresh == no ]] || return 0
  lists_are_fresh=yes
  if may_be_root; then apt_as_root update; fi
}

# wanted PROGRAM PACKAGE: a whole package, when the program is missing.
packages=()
wanted() { has "$1" || packages+=("$2"); }

install_packages() {
  ((${#packages[@]})) || return 0
  if ! has apt-get; then
    fail "please install what Debian calls: ${packages[*]}"
  elif ! may_be_root; then
    fail "please run: sudo apt-get install ${packages[*]}"
  fi
  say "installing ${packages[*]}"
  fetch_lists
  apt_as_root install --yes --no-install-recommends "${packages[@]}" >/dev/null
  packages=()
}

# broker: mosquitto for the tests to start, without a service that runs.
broker() {
  local policy=/usr/sbin/policy-rc.d
  PATH="$PATH:/usr/sbin" has mosquitto && has mosquitto_pub && return 0
  may_be_root || fail "please install what Debian calls: mosquitto mosquitto-clients"
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
    # shellcheck disable=SC2064  # the path is known now
    trap "${as_root[*]} rm -f $policy" EXIT
  fi
  packages+=(mosquitto mosquitto-clients)
  install_packages
  if [[ -d /run/systemd/system ]]; then "${as_root[@]}" systemctl disable --quiet mosquitto || true; fi
}

# program_of PROGRAM PACKAGE: one program, when it is missing; no root needed.
program_of() {
  local program=$1 package=$2 folder
  has "$program" && return 0
  if ! has apt-get || ! has dpkg-deb; then
    fail "please install $program (Debian has it in the package $package)"
  fi
  say "taking $program out of the package $package, into $tools/bin"
  fetch_lists
  folder=$(mktemp -d)
  (cd "$folder" && apt-get -qq -o APT::Sandbox::User=root download "$package") || fail "apt-get could not fetch the package $package, which has $program"
  mkdir -p "$tools/bin"
  dpkg-deb --fsys-tarfile "$folder"/"$package"_*.deb | tar -xO "./usr/bin/$program" >"$folder/$program"
  chmod +x "$folder/$program"
  # Put into place at once: another run may be looking for it.
  mv "$folder/$program" "$tools/bin/$program"
  rm -r "$folder"
}

# Built from its source: no distribution packages it.
cargo_deny() {
  has cargo-deny && return 0
  say "building cargo-deny $cargo_deny_version into $tools/bin (once, about three minutes)"
  if cargo install cargo-deny --quiet --locked --version "$cargo_deny_version" --root "$tools"; then
    return 0
  fi
  [[ ${CI:-} != true ]] || fail "cargo-deny could not be built"
  say "cargo-deny could not be built; dependencies will not be checked"
}

# The peer of tomte top, from its source likewise.
bottom() {
  has btm && return 0
  say "building bottom $bottom_version into $tools/bin (once, some minutes)"
  cargo install bottom --quiet --locked --version "$bottom_version" --root "$tools" ||
    say "bottom could not be built; its figures will be those of another day"
}

# Node.js as the build of the browser UI wants it. Where the distribution's is
# older, npm has it as a package, which is kept with our tools.
recent_node() {
  local script='const [a, b] = process.versions.node.split("."); process.exit(+a > 20 || (+a === 20 && +b >= 19) ? 0 : 1)'
  node -e "$script" && return 0
  say "Node.js $(node --version) is too old: fetching a newer one into $tools"
  npm install --prefix "$tools/node" --no-save --no-audit --no-fund --loglevel=error node@22 ||
    fail "please install Node.js 20.19 or newer"
  mkdir -p "$tools/bin"
  ln -sf "$tools/node/node_modules/node/bin/node" "$tools/bin/node"
  hash -r
  node -e "$script" || fail "please install Node.js 20.19 or newer"
}

rust_target() {
  rustc --print target-libdir --target "$1" 2>/dev/null | xargs -r test -d && return 0
  has rustup || fail "please install the Rust target $1"
  say "adding the Rust target $1"
  rustup --quiet target add "$1" || fail "rustup could not add the target $1"
}

for group in "${@:-test}"; do
  case $group in
    lint)
      # Without root the scripts go unchecked, and make says so.
      if [[ ${CI:-} == true ]] || may_be_root; then wanted shellcheck shellcheck; fi
      install_packages
      cargo_deny
      ;;
    test)
      wanted cc gcc # SQLite and ring are built from C
      wanted ip iproute2
      wanted tmux tmux
      wanted restic restic
      wanted borg borgbackup
      # Real ones of what collectors read, for tests to start. Only where this
      # may be done: without root those tests cannot run, and say so.
      if may_be_root; then
        wanted dockerd docker.io
        wanted busybox busybox-static
        wanted systemd systemd
        wanted systemd-nspawn systemd-container
        wanted dbus-daemon dbus
        wanted mosquitto mosquitto
      fi
      install_packages
      broker
      program_of promtool prometheus
      ;;
    web)
      wanted node nodejs
      wanted npm npm
      has chromium || has chromium-browser || has google-chrome || wanted chromium chromium
      install_packages
      recent_node
      ;;
    musl)
      wanted musl-gcc musl-tools
      install_packages
      rust_target "$musl"
      ;;
    bench)
      wanted cc gcc
      wanted musl-gcc musl-tools
      install_packages
      rust_target "$musl"
      program_of prometheus-node-exporter prometheus-node-exporter
      program_of prometheus prometheus
      program_of victoria-metrics victoria-metrics
      bottom
      ;;
    vm)
      wanted qemu-system-x86_64 qemu-system-x86
      wanted debootstrap debootstrap
      wanted mkfs.ext4 e2fsprogs
      wanted jq jq
      install_packages
      ;;
    *) fail "what is $group? There are lint, test, web, musl, bench and vm" ;;
  esac
done
