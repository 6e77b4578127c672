#!/bin/sh
# Leaves the guest as each clone shall find it: nothing built, the folders and pipes that build.sh works in, and the programs
# that a clone runs first in the page cache. Run before the template's own build and after it.
set -eu
# To the size of the disk that kiln gave the VM.
resize2fs /dev/vda 2>/dev/null
buildctl prune --all >/dev/null
# build.sh works on a file system whose blocks are all taken beforehand, an eighth of the disk: a step that fills the disk leaves room for the log
# and the trace of its own end, without which buildctl never ends.
if ! mountpoint --quiet /var/lib/kiln/build; then
  mkdir -p /var/lib/kiln/build
  fallocate --length "$(($(stat --file-system --format='%b * %S' /) / 8))" /var/lib/kiln/room
  mkfs.ext4 -q -m 0 -O ^has_journal /var/lib/kiln/room
  mount --options loop,noatime /var/lib/kiln/room /var/lib/kiln/build
fi
find /var/lib/kiln/build -mindepth 1 -delete
mkdir /var/lib/kiln/build/context /var/lib/kiln/build/dockerfile
# Nobody ever writes into `never`: build.sh waits on it, as `sleep` would be a process.
mkfifo /var/lib/kiln/build/never /var/lib/kiln/build/output.pipe
modprobe erofs
# buildkitd makes networks for its next steps ahead, in a moment of its own.
while [ "$(ls /var/lib/buildkit/net/cni | wc -l)" -lt "$1" ]; do sleep 0.2; done
mount --version >/dev/null
dd --version >/dev/null
perl -c /usr/local/lib/kiln/reseed 2>/dev/null
perl -c /usr/local/lib/kiln/send 2>/dev/null
sync
