#!/bin/sh
# Early boot has failed. With panic=N on the kernel command line the machine starts again after N
# seconds, in which the reason can be read, so that the boot loader can take another entry. Without it,
# systemd's emergency shell follows.

wait=$(cat /proc/sys/kernel/panic)
[ "$wait" = 0 ] && exit 0
reason=$(cat /run/atoll/failed 2> /dev/null)
/usr/lib/atoll/say "early boot failed: ${reason:-the state partition did not appear, or its check failed}"
/usr/lib/atoll/say "the machine starts again"
[ "$wait" -gt 0 ] && sleep "$wait"
exec systemctl --force --force reboot
