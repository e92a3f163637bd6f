#!/bin/sh
# systemd generator in the initrd: early boot waits for the partition that atoll.state=UUID=… names,
# which is checked first. Without that word early boot runs at once and says what is missing.

set -euf
late=$1

# The first one, as early boot does it: Atoll's own words stand before those of the recipe.
# shellcheck disable=SC2013  # words are wanted
for word in $(cat /proc/cmdline); do
    case $word in
    atoll.state=UUID=*) uuid=${word#atoll.state=UUID=} && break ;;
    esac
done
[ -n "${uuid:-}" ] || exit 0

device=$(systemd-escape --path "/dev/disk/by-uuid/$uuid")
mkdir -p "$late/atoll-early-boot.service.d"
cat > "$late/atoll-early-boot.service.d/state.conf" <<END
[Unit]
BindsTo=$device.device
Wants=systemd-fsck@$device.service
After=$device.device systemd-fsck@$device.service
END
