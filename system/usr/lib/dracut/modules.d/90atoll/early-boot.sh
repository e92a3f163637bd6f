#!/bin/sh
# Early boot: mount the system that the kernel command line names at /sysroot. Runs in the initrd as
# atoll-early-boot.service; systemd switches to /sysroot when it is done. docs/reference/boot.md
# describes the steps, docs/reference/contracts.md each file that is read or written.
#
#   early-boot.d/messages.sh         failures and messages
#   early-boot.d/command-line.sh     which tree, state partition and deployment
#   early-boot.d/live.sh             a live system: its stick is only read
#   early-boot.d/boot-attempts.sh    what is recorded of a boot that the boot loader counts
#   early-boot.d/fallback.sh         request another deployment when a boot without a counter fails
#   early-boot.d/tree.sh             the tree: verified and mounted at /
#   early-boot.d/etc.sh              /etc: the tree's with the deployment's changes
#   early-boot.d/home.sh             /home that is shared with an older system
#   early-boot.d/reset.sh            which /var: after a reset the deployment has one of its own
#   early-boot.d/var.sh              /var and the directories bound from it; the machine id
#   early-boot.d/paths.sh            create directories, and move aside what is in their place
#
# Damage to the tree fails the boot. Damage to the machine's own data (/var and below) is repaired or
# reported, and never fails the boot.
#
# The power may fail after any command. Each function handles the states that this can leave behind, and
# the next boot continues from there (docs/decisions/0016).

set -u
umask 022

parts=/usr/lib/atoll/early-boot.d
# The mount point of the state partition during early boot only.
partition=/run/atoll/state
root=/sysroot

# shellcheck source=SCRIPTDIR/../../../atoll/formats.sh
. /usr/lib/atoll/formats.sh
# shellcheck source=SCRIPTDIR/early-boot.d/messages.sh
. $parts/messages.sh
# shellcheck source=SCRIPTDIR/early-boot.d/command-line.sh
. $parts/command-line.sh
# shellcheck source=SCRIPTDIR/early-boot.d/live.sh
. $parts/live.sh
# shellcheck source=SCRIPTDIR/early-boot.d/boot-attempts.sh
. $parts/boot-attempts.sh
# shellcheck source=SCRIPTDIR/early-boot.d/fallback.sh
. $parts/fallback.sh
# shellcheck source=SCRIPTDIR/early-boot.d/tree.sh
. $parts/tree.sh
# shellcheck source=SCRIPTDIR/early-boot.d/etc.sh
. $parts/etc.sh
# shellcheck source=SCRIPTDIR/early-boot.d/home.sh
. $parts/home.sh
# shellcheck source=SCRIPTDIR/early-boot.d/reset.sh
. $parts/reset.sh
# shellcheck source=SCRIPTDIR/early-boot.d/var.sh
. $parts/var.sh
# shellcheck source=SCRIPTDIR/early-boot.d/paths.sh
. $parts/paths.sh

mount_state_partition() {
    mkdir -p $partition /run/atoll/tree-image /run/atoll/tree /run/atoll/tree-etc
    # Private, as the bind mounts below: with shared propagation, a mount would appear in all of them.
    if [ -n "$live" ]; then
        mount_live_state
    else
        mount --make-private -o rw,noatime "$device" $partition ||
            fail "the state partition $device cannot be mounted"
    fi
    is_partition_mounted=yes
    etc=$partition/atoll/deployments/$deployment/etc
    [ -d "${etc%/etc}" ] || fail "deployment $deployment is not there"
}

# /sysroot is read-only. Atoll remounts it writable in a private mount namespace.
mount_sysroot() {
    mount --bind $partition/ $root/sysroot || fail "/sysroot cannot be mounted"
    mount -o remount,bind,ro $root/sysroot || fail "/sysroot cannot be made read-only"
    [ -z "$live" ] || finish_live_mounts
    # Lazily: the mounted tree keeps files of the partition in use.
    umount -l $partition
}

# The last step: by this file, everything else knows that this is a running Atoll system.
write_booted() {
    format_booted "$deployment" "$tree" > /run/atoll/booted.new
    mv /run/atoll/booted.new /run/atoll/booted
}

main() {
    read_command_line
    mount_state_partition
    record_boot_attempt
    verify_image
    mount_tree
    read_ahead
    merge_etc_on_first_boot
    mount_etc
    mount_var
    restore_machine_id
    report_failed_deployment
    mount_sysroot
    write_booted
}

main
