#!/bin/sh
# Makes kernel, initrd, disk.qcow2 and versions.json in the folder $2 from the root file system $1.
set -eu
root=$1
out=$2
mkdir -p "$out"
kernel=$(basename "$root"/lib/modules/*)
cp "$root/boot/vmlinuz-$kernel" "$out/kernel"
cp "$root/boot/initrd.img-$kernel" "$out/initrd"

# Small: whoever runs it gives the disk the size it shall have, and the file system follows with resize2fs.
truncate -s 2G /tmp/disk.raw
mke2fs -q -t ext4 -L root -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" /tmp/disk.raw
# A third of the bytes, wherever it goes; QEMU unpacks what is read, and nothing is ever written to it.
qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd /tmp/disk.raw "$out/disk.qcow2"
rm /tmp/disk.raw

in_root() { chroot "$root" "$@"; }
runc=$(in_root /usr/local/bin/runc --version)
runc_field() { printf '%s\n' "$runc" | sed -n "s/^$1:* *//p"; }
# Set by the root's own os-release.
PRETTY_NAME=
. "$root/etc/os-release"
cat >"$out/versions.json" <<JSON
{
  "buildkit": "$(in_root /usr/local/bin/buildkitd --version)",
  "runc": "$(runc_field 'runc version')",
  "runcCommit": "$(runc_field commit)",
  "go": "$(runc_field go)",
  "libseccomp": "$(runc_field libseccomp)",
  "kernel": "$kernel",
  "systemd": "$(in_root systemctl --version | sed -n '1s/^systemd //p')",
  "distribution": "$PRETTY_NAME",
  "packages": "sha256:$(in_root dpkg-query -W | sha256sum | cut -d' ' -f1)"
}
JSON
