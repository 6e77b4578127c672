#!/bin/sh
# Removes what nobody reads in a container that runs kiln, and the second QEMU, which is the same for 32 bits.
set -eu
rm -rf /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale /usr/share/lintian /var/cache/* /var/log/* /var/lib/apt/lists/*
rm -f /usr/bin/qemu-system-i386
