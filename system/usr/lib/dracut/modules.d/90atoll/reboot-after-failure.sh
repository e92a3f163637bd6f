#!/bin/sh
# Runs when early boot has failed. With panic=N on the kernel command line, show the reason for N
# seconds and restart, so that the boot loader can start another entry. Without panic=N, systemd's
# emergency shell follows.
#
# reads   /run/atoll/failed, from early-boot.d/messages.sh
# by      emergency.service in the initrd (emergency.conf)

wait=$(cat /proc/sys/kernel/panic)
[ "$wait" = 0 ] && exit 0
reason=$(cat /run/atoll/failed 2> /dev/null)
/usr/lib/atoll/print-to-consoles \
    "early boot failed: ${reason:-the state partition did not appear, or its check failed}"
/usr/lib/atoll/print-to-consoles "the machine restarts"
[ "$wait" -gt 0 ] && sleep "$wait"
exec systemctl --force --force reboot
