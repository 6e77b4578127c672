#!/bin/sh
# One VM of this image, by hand: `docker run -it -p 2222:22 -e SSH_KEY="$(cat ~/.ssh/id_ed25519.pub)" IMAGE`. Its arguments are
# appended to QEMU's. What the guest writes lies in the volume /run/vm.
#
#   SSH_KEY           the ssh-ed25519 key that may log in as root on port 22
#   QEMU_RESTRICT     off: the guest may reach the network of this container; on, the default: nothing
#   QEMU_NET, QEMU_DHCPSTART, QEMU_MAC_ADDR_0
#                     the guest's subnet, its address and its MAC address; in another subnet than 10.0.2.0/24 the guest finds
#                     the way back to who connects from beyond this container only if QEMU_RESTRICT is off
#   QEMU_HOSTFWD      further ports: hostfwd=tcp::80-:80,hostfwd=tcp::443-:443
#   QEMU_DUAL_NET     a second network, between VMs: QEMU_SOCKET_LISTEN, QEMU_SOCKET_CONNECT, QEMU_MAC_ADDR_1
#   QEMU_SOCKET_IP    the guest's address there, of a /24
#   DISK_SIZE         size of the disk, 20G unless the image was made with another; resize2fs /dev/vda in the guest lets its file system follow
set -eu
disk=/run/vm/disk.qcow2
[ -e "$disk" ] || qemu-img create -q -f qcow2 -F qcow2 -b /vm/disk.qcow2 "$disk" "${DISK_SIZE:-20G}"

# $1 as a part of QEMU's option, where the variable $2 says something.
option() { [ -z "$2" ] || printf ',%s%s' "$1" "$2"; }

net="user,model=virtio,restrict=${QEMU_RESTRICT:-on}$(option net= "${QEMU_NET:-}")$(option dhcpstart= "${QEMU_DHCPSTART:-}")"
net="$net$(option mac= "${QEMU_MAC_ADDR_0:-}"),hostfwd=tcp::22-:22$(option '' "${QEMU_HOSTFWD:-}")"
kernel='root=/dev/vda rw console=ttyS0'

if [ -n "${QEMU_DUAL_NET:-}" ]; then
  mac=${QEMU_MAC_ADDR_1:-52:54:00:12:34:57}
  second="socket,model=virtio,mac=$mac$(option listen= "${QEMU_SOCKET_LISTEN:-}")$(option connect= "${QEMU_SOCKET_CONNECT:-}")"
  set -- -nic "$second" "$@"
  # systemd-network-generator reads these two, as an initrd would.
  if [ -n "${QEMU_SOCKET_IP:-}" ]; then
    kernel="$kernel systemd.wants=systemd-network-generator.service ifname=eth1:$mac ip=$QEMU_SOCKET_IP:::255.255.255.0::eth1:off"
  fi
fi

if [ -n "${SSH_KEY:-}" ]; then
  case $SSH_KEY in
    'ssh-ed25519 '*) key=${SSH_KEY#ssh-ed25519 } && kernel="$kernel kiln.key=${key%% *}" ;;
    *) echo 'SSH_KEY must be the one line of an ssh-ed25519 key.' >&2 && exit 1 ;;
  esac
else
  echo 'No SSH_KEY: nobody can log in to this VM.' >&2
fi

if [ -w /dev/kvm ]; then
  set -- -accel kvm -cpu host "$@"
else
  set -- -accel tcg,thread=multi -cpu max,erms=off,fsrm=off "$@"
fi
exec qemu-system-x86_64 -machine q35 -smp 2 -m 2048M -nographic -no-user-config \
  -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
  -kernel /vm/kernel -initrd /vm/initrd -append "$kernel" \
  -drive "if=virtio,file=$disk,format=qcow2,discard=unmap" -nic "$net" -device virtio-rng-pci "$@"
