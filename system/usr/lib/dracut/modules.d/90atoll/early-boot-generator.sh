#!/bin/sh
# systemd generator in the initrd: early boot waits for the partition that atoll.state=UUID=… names,
# which is checked first. Without that word early boot starts at once and says what is missing.
#
# The partition of a live system is not checked, for nothing is written to its stick. Its persistence
# partition is waited for only as long as a stick may take: without it the system comes up too.

set -eu
late=$1
# shellcheck source=SCRIPTDIR/early-boot.d/command-line.sh
. /usr/lib/atoll/early-boot.d/command-line.sh

# unit_of DEVICE: the name of its unit, without .device.
unit_of() {
    systemd-escape --path "/dev/disk/by-uuid/${1#UUID=}"
}

find_boot_words
# shellcheck disable=SC2154  # find_boot_words sets it
case $device in
UUID=?*) ;;
*) exit 0 ;;
esac

unit=$(unit_of "$device")
folder=$late/atoll-early-boot.service.d
mkdir -p "$folder"
# shellcheck disable=SC2154  # find_boot_words sets it
if [ -z "$live" ]; then
    cat > "$folder/state.conf" <<END
[Unit]
BindsTo=$unit.device
Wants=systemd-fsck@$unit.service
After=$unit.device systemd-fsck@$unit.service
END
    exit 0
fi

cat > "$folder/state.conf" <<END
[Unit]
BindsTo=$unit.device
After=$unit.device
END
# shellcheck disable=SC2154  # find_boot_words sets it
case $persistence in
UUID=?*) ;;
*) exit 0 ;;
esac
unit=$(unit_of "$persistence")
mkdir -p "$late/$unit.device.d"
printf '[Unit]\nJobRunningTimeoutSec=20s\n' > "$late/$unit.device.d/atoll.conf"
cat > "$folder/persistence.conf" <<END
[Unit]
Wants=$unit.device
After=$unit.device
END
