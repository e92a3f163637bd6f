#!/bin/sh
# systemd generator in the initrd: early boot waits for the partition that atoll.state=UUID=… names,
# which is checked first. Without that word early boot starts at once and says what is missing.

set -eu
late=$1
# shellcheck source=SCRIPTDIR/early-boot.d/command-line.sh
. /usr/lib/atoll/early-boot.d/command-line.sh

find_boot_words
# shellcheck disable=SC2154  # find_boot_words sets it
case $device in
UUID=?*) ;;
*) exit 0 ;;
esac

unit=$(systemd-escape --path "/dev/disk/by-uuid/${device#UUID=}")
mkdir -p "$late/atoll-early-boot.service.d"
cat > "$late/atoll-early-boot.service.d/state.conf" <<END
[Unit]
BindsTo=$unit.device
Wants=systemd-fsck@$unit.service
After=$unit.device systemd-fsck@$unit.service
END
