#!/bin/sh
# Turns the base with kiln's files into the root file system of the VM. Runs inside it.
set -eu
chmod 755 /usr/local/sbin/kiln-guest /usr/local/bin/*

# Each VM makes its own identity: the image has none.
rm -f /etc/ssh/ssh_host_* /etc/ssh/sshd_config.d/50-cloud-init.conf
: >/etc/machine-id

systemctl enable ssh.service systemd-networkd.service systemd-resolved.service systemd-timesyncd.service \
  buildkit.service buildkit.socket kiln-guest.service
# What wakes up on its own would do so in the middle of a build.
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
  fstrim.timer logrotate.timer man-db.timer motd-news.timer systemd-networkd-wait-online.service
# Ubuntu starts sshd by its socket, which its service then requires; one that runs answers sooner.
systemctl disable ssh.socket
systemctl mask ssh.socket

# Modules of hardware that a VM with virtio devices only does not have.
for modules in /lib/modules/*; do
  (cd "$modules/kernel" && rm -rf sound drivers/gpu drivers/media drivers/net/wireless drivers/net/ethernet drivers/infiniband \
    drivers/staging drivers/iio drivers/usb drivers/hid drivers/input drivers/isdn drivers/bluetooth drivers/mtd drivers/mmc \
    drivers/hwmon drivers/firewire drivers/platform drivers/scsi drivers/leds drivers/power net/bluetooth net/wireless \
    net/mac80211 fs/ocfs2 fs/gfs2 fs/xfs fs/btrfs fs/reiserfs fs/jfs fs/nfsd)
  depmod "${modules##*/}"
done
printf 'virtio_pci\nvirtio_blk\next4\n' >>/etc/initramfs-tools/modules
update-initramfs -u -k all
rm -rf /usr/share/doc /usr/share/man /usr/share/locale /var/lib/apt/lists/* /var/cache/apt/*
