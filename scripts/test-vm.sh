#!/usr/bin/env bash
# The agent in an emulated machine with real disks of several kinds and, where
# its modules can be built, real ZFS pools in good and bad state. No part of
# `make test`: it is emulated, without the processor's help, and takes minutes.
#
#   scripts/test-vm.sh [AGENT]       the static agent, unless said otherwise
#
#   VM_CACHE    where the machine's root is kept (~/.cache/tomte/vm, 1.5 GB)
#   VM_ZFS=no   without ZFS, whose modules take ten minutes to build, once
#   VM_ACCEL=kvm with the processor's help, where /dev/kvm works
#   VM_MIRROR   a mirror of Debian, where this machine's own apt names none
#
# What it looks at inside is scripts/vm/guest.sh; what it expects of the answers,
# scripts/vm/expected.jq. Needs Debian's tools, and root to make the machine's root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

suite=bookworm
agent=${1:-target/x86_64-unknown-linux-musl/dist-agent/tomte-agent}
cache=${VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tomte/vm}
zfs=${VM_ZFS:-yes}
# A machine that hangs is ended after so long; it needs one to three minutes.
limit=1200

say() { echo "test-vm: $*"; }
fail() {
  say "$*" >&2
  exit 1
}
skip() {
  say "SKIPPED: $*"
  exit 0
}

[[ -x $agent ]] || fail "there is no $agent: run \`make musl\`, or name an agent"
[[ $(id -u) == 0 ]] || skip "only root can make the emulated machine's root"
scripts/test-setup.sh vm || skip "what it needs cannot be installed here"

mirror=${VM_MIRROR:-$(apt-get indextargets --format "\$(REPO_URI) \$(CODENAME)" | sed -n "s/ $suite\$//p" | head -n 1)}
[[ -n $mirror ]] || skip "apt knows no mirror of Debian's $suite; name one with VM_MIRROR"

mkdir -p "$cache"
# Two at once would build into the same folder.
exec 9>"$cache/lock"
flock 9

# inside ROOT COMMAND...: runs it in the root that is being made.
inside() {
  local root=$1
  shift
  DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" "$@"
}

# The root of the machine: a small Debian with a kernel and smartmontools.
base() {
  local root=$cache/base
  [[ -e $root/done ]] && return 0
  say "making the machine's root in $root, about two minutes"
  rm -rf "$root"
  debootstrap --variant=minbase --include=systemd-sysv,dbus,udev,kmod,iproute2,wireguard-tools,smartmontools,linux-image-amd64 \
    "$suite" "$root" "$mirror" >"$cache/base.log" 2>&1 || return 1
  cp /etc/resolv.conf "$root/etc/resolv.conf"
  printf '%s\n' virtio_blk virtio_pci ext4 >>"$root/etc/initramfs-tools/modules"
  inside "$root" update-initramfs -u >>"$cache/base.log" 2>&1 || return 1
  # What is to be done inside comes on a disk of its own, so that this root can stay.
  cat >"$root/etc/systemd/system/carried.service" <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'mount -o ro /dev/vdb /mnt && exec /bin/sh /mnt/guest.sh'
ExecStopPost=/bin/systemctl poweroff --force --force
[Install]
WantedBy=multi-user.target
UNIT
  inside "$root" systemctl --quiet enable carried.service || return 1
  inside "$root" systemctl --quiet mask smartmontools.service getty@.service serial-getty@.service || return 1
  touch "$root/done"
}

# The same with ZFS, whose modules are built for its kernel.
with_zfs() {
  local root=$cache/zfs
  [[ -e $root/done ]] && return 0
  say "building ZFS's modules in $root, about ten minutes, once"
  rm -rf "$root"
  cp -a "$cache/base" "$root" && rm "$root/done"
  printf 'deb %s %s main contrib\ndeb %s %s-backports main contrib\n' "$mirror" "$suite" "$mirror" "$suite" \
    >"$root/etc/apt/sources.list"
  mount --bind /dev "$root/dev" || return 1
  mount -t proc proc "$root/proc" || return 1
  # shellcheck disable=SC2016  # the machine's own shell expands these
  inside "$root" env backports="$suite-backports" sh -ec '
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends linux-headers-amd64
    apt-get -qq install --yes --no-install-recommends -t "$backports" zfs-dkms zfsutils-linux
    apt-get -qq clean
    kernel=$(ls /lib/modules | head -n 1)
    modinfo -k "$kernel" zfs
  ' >"$cache/zfs.log" 2>&1
  local built=$?
  umount "$root/proc" "$root/dev" || return 1
  ((built == 0)) || return 1
  # What built them is not needed any more, and makes the image four times as large.
  rm -rf "$root"/usr/src/* "$root"/usr/lib/gcc "$root"/var/lib/dkms/*/*/build
  touch "$root/done"
}

# image NAME: the root as a disk.
image() {
  local root=$cache/$1 disk=$cache/$1.img
  [[ -e $disk ]] && return 0
  say "making a disk of $root"
  rm -f "$disk.part"
  truncate -s "$(($(du -sm "$root" | cut -f 1) * 13 / 10 + 200))M" "$disk.part"
  mkfs.ext4 -q -d "$root" "$disk.part" || return 1
  mv "$disk.part" "$disk"
}

base || fail "the machine's root could not be made; see $cache/base.log"
machine=base
if [[ $zfs == no ]]; then
  say "SKIPPED: ZFS, as VM_ZFS=no asks"
elif with_zfs; then
  machine=zfs
else
  say "SKIPPED: ZFS, whose modules could not be built; see $cache/zfs.log"
fi
image "$machine" || fail "no disk could be made of $cache/$machine"
if [[ ${VM_BUILD_ONLY:-} == yes ]]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The packaged units, as they are, so that what they forbid is forbidden.
mkdir "$work/carried"
install "$agent" "$work/carried/tomte-agent"
install scripts/vm/guest.sh packaging/systemd/* "$work/carried"
truncate -s "$(($(du -sm "$work/carried" | cut -f 1) + 16))M" "$work/carried.img"
mkfs.ext4 -q -d "$work/carried" "$work/carried.img"
for disk in nvme ata ssd scsi virtio; do truncate -s 64M "$work/$disk.img"; done

drive() { printf 'if=none,format=raw,id=%s,file=%s' "$1" "$2"; }
say "starting the machine"
began=$SECONDS
timeout --kill-after=10 "$limit" qemu-system-x86_64 \
  -machine q35 -accel "${VM_ACCEL:-tcg}" -cpu max -smp 2 -m 1536 -display none -no-reboot -nic none \
  -kernel "$cache/$machine"/vmlinuz -initrd "$cache/$machine"/initrd.img \
  -append "root=/dev/vda rw console=ttyS0 loglevel=4 panic=-1" \
  -serial "file:$work/console" -serial "file:$work/answers" \
  -drive "$(drive root "$cache/$machine.img"),snapshot=on" -device virtio-blk-pci,drive=root \
  -drive "$(drive carried "$work/carried.img"),snapshot=on" -device virtio-blk-pci,drive=carried \
  -drive "$(drive virtio "$work/virtio.img")" -device virtio-blk-pci,drive=virtio,serial=VIRTIO1 \
  -drive "$(drive nvme "$work/nvme.img")" -device nvme,drive=nvme,serial=NVME1 \
  -drive "$(drive ata "$work/ata.img")" -device ide-hd,drive=ata,serial=ATA1,bus=ide.0 \
  -drive "$(drive ssd "$work/ssd.img")" -device ide-hd,drive=ssd,serial=SSD1,rotation_rate=1,bus=ide.1 \
  -device virtio-scsi-pci -drive "$(drive scsi "$work/scsi.img")" -device scsi-hd,drive=scsi,serial=SCSI1 ||
  { tail -n 30 "$work/console" >&2; fail "the machine did not come to its end within $limit s"; }
say "the machine ran for $((SECONDS - began)) s"

# The guest writes `=== NAME`, then what belongs to it, and at its very end `=== end`.
if ! grep -q '^=== end' "$work/answers"; then
  cp "$work/answers" "$work/console" "$cache/"
  tail -n 20 "$work/console" >&2
  fail "the machine ended early; what it said is in $cache/console and $cache/answers"
fi
tr -d '\r' <"$work/answers" | awk -v folder="$work" '/^=== /{ file = folder "/" $2 ".json"; next } file { print >file }'

failed=0
judge() {
  local stage=$1 lines
  [[ -s $work/$stage.json ]] || fail "the guest said nothing of $stage: $(tail -n 5 "$work/console")"
  lines=$(jq -r --arg stage "$stage" -f scripts/vm/expected.jq "$work/$stage.json") ||
    fail "what the guest said of $stage is not understood: $(head -c 400 "$work/$stage.json")"
  echo "$lines"
  if grep -q '^FAILED' <<<"$lines"; then
    failed=1
    # To be looked at.
    cp "$work/$stage.json" "$cache/failed-$stage.json"
    say "all that was collected is in $cache/failed-$stage.json"
  fi
}
judge disks-without-helper
judge disks
if [[ $machine == zfs ]]; then
  judge pools-none
  judge pools-good
  judge pools-bad
fi
if ((failed)); then fail "not all is as expected"; fi
say "all is as expected"
