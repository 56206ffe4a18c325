#!/bin/sh
# Runs inside the emulated machine, as root and under its systemd; see
# scripts/test-vm.sh. What the agent sees goes to the second serial line, stage
# by stage: once before anything that root has to do is set up, then with the
# packaged helper, then with pools.
set -eux
stty -F /dev/ttyS1 raw
exec >/dev/ttyS1 2>/dev/console

# As a package would install it.
cp /mnt/tomte-agent /usr/bin/tomte-agent
cp /mnt/*.service /mnt/*.socket /etc/systemd/system/
cp /mnt/sysusers.conf /usr/lib/sysusers.d/tomte.conf
cp /mnt/tmpfiles.conf /usr/lib/tmpfiles.d/tomte.conf
systemd-sysusers tomte.conf
systemd-tmpfiles --create tomte.conf
touch /etc/tomte/agent.toml
systemctl daemon-reload

# Everything that there is to see, by the agent's own user.
stage() {
  echo "=== $1"
  setpriv --reuid=tomte --regid=tomte --clear-groups tomte-agent once --json --config /etc/tomte/agent.toml
  echo
}

# WireGuard with a peer, as only the kernel has it.
ip link add wg0 type wireguard
wg genkey >/run/key
wg set wg0 private-key /run/key peer "$(wg genkey | wg pubkey)" endpoint 192.0.2.7:51820 allowed-ips 10.8.0.2/32
ip link set wg0 up
udevadm settle

stage disks-without-helper
systemctl start tomte-agent-helper.socket
stage disks
systemctl --no-pager status tomte-agent-helper.service >/dev/console 2>&1 || true

if modprobe zfs 2>/dev/console; then
  udevadm settle
  stage pools-none

  files=/dev/shm
  for file in m1 m2 spare r1 r2 r3 single; do truncate -s 96M "$files/$file"; done
  zpool create -O compression=on tank mirror "$files/m1" "$files/m2" spare "$files/spare"
  zpool create raid raidz1 "$files/r1" "$files/r2" "$files/r3"
  zpool create single "$files/single"
  zfs create -o quota=32M tank/data
  zfs create -V 16M tank/volume
  dd if=/dev/urandom of=/tank/data/file bs=1M count=8 2>/dev/console
  dd if=/dev/urandom of=/raid/file bs=1M count=20 2>/dev/console
  dd if=/dev/urandom of=/single/file bs=1M count=20 2>/dev/console
  zfs snapshot tank/data@first
  zfs snapshot tank/data@second
  zpool sync
  zpool scrub tank
  # Not `-w`, which a damaged pool can hold up for ever.
  for _ in $(seq 60); do
    zpool status tank | grep -q 'scrub repaired' && break
    sleep 1
  done
  stage pools-good

  zpool offline tank "$files/m2"
  zpool export raid
  rm "$files/r3"
  zpool import -d "$files" raid
  # The middle of the only copy; what was cached of it is forgotten.
  zpool export single
  dd if=/dev/urandom of="$files/single" bs=1M seek=8 count=24 conv=notrunc 2>/dev/console
  zpool import -d "$files" single
  zpool scrub single
  for _ in $(seq 60); do
    zpool status single | grep -q 'scrub repaired' && break
    sleep 1
  done
  # A scrub that goes on for as long as it is looked at.
  echo 1 >/sys/module/zfs/parameters/zfs_scan_suspend_progress
  zpool scrub raid
  stage pools-bad
fi
echo "=== end"
