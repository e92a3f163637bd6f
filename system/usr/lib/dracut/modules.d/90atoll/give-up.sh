#!/bin/sh
# Early boot has failed. With panic=N on the kernel command line the machine starts again, so that
# the boot loader can take another entry; without it, systemd's emergency shell follows.

wait=$(cat /proc/sys/kernel/panic)
[ "$wait" = 0 ] && exit 0
echo "atoll: early boot failed; the machine starts again" > /dev/console
[ "$wait" -gt 0 ] && sleep "$wait"
exec systemctl --force --force reboot
