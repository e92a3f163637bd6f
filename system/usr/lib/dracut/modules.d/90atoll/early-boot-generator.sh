#!/bin/sh
# systemd generator in the initrd: make early boot wait for the partition in atoll.state=UUID=…, and for
# the check of its file system. Without that parameter early boot starts at once and reports it.
#
# The partition of a live system is not checked, as nothing is written to it. Early boot waits for its
# persistence partition only as long as a USB stick may take: the system also starts without it.
#
# With rd.luks.name=UUID=NAME the partition is in an encrypted volume, which systemd-cryptsetup opens. It
# waits for the passphrase without a time limit, and asks again after a wrong one: neither is a failed
# boot. So the time limit of the partition begins only when the volume is open.

set -eu
late=$1
# shellcheck source=SCRIPTDIR/early-boot.d/command-line.sh
. /usr/lib/atoll/early-boot.d/command-line.sh

# unit_of DEVICE: print the name of its unit, without .device.
unit_of() {
    systemd-escape --path "/dev/disk/by-uuid/${1#UUID=}"
}

find_boot_parameters
# shellcheck disable=SC2154  # find_boot_parameters sets it
case $device in
UUID=?*) ;;
*) exit 0 ;;
esac

unit=$(unit_of "$device")
folder=$late/atoll-early-boot.service.d
mkdir -p "$folder"
# shellcheck disable=SC2154  # find_boot_parameters sets it
if [ -n "$volume" ]; then
    opened=systemd-cryptsetup@$(systemd-escape "$volume").service
    printf '[Unit]\nRequires=%s\nAfter=%s\n' "$opened" "$opened" > "$folder/encrypted.conf"
    mkdir -p "$late/$unit.device.d"
    printf '[Unit]\nAfter=%s\n' "$opened" > "$late/$unit.device.d/encrypted.conf"
fi
# shellcheck disable=SC2154  # find_boot_parameters sets it
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
# shellcheck disable=SC2154  # find_boot_parameters sets it
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
