# Mount a live system, whose medium (the stick) is only read. The content of the state partition is in
# memory, or on a partition of the stick for persistence.
#
# reads   atoll/images, atoll/objects     of the stick: mounted in the same places of $partition
#         atoll/…                         the other files of the stick, which are few: copied
#         $persistence                    the file system for changes, if there is one
# writes  /run/atoll/live                 `memory` or `persistence`: where changes go; for sysroot.py
#         /run/motd.d, /run/issue.d       messages that this is a live system
# needs   $device, $partition, $root
#
# /var is a directory on the tmpfs or on the persistence partition, never an overlay over the stick:
# containers and sandboxes mount overlays there, and an upper directory cannot be on an overlay.

stick=/run/atoll/stick

# Mount $partition: a tmpfs or the persistence partition, with objects and images bound from the stick.
mount_live_state() {
    mkdir -p $stick
    # noload: otherwise the kernel replays the journal, even with a read-only mount.
    mount --make-private -o ro,noatime,noload "$device" $stick ||
        fail "the partition $device of the live system cannot be mounted"
    changes=memory
    mount_persistence || mount_memory
    for name in objects images; do
        mount --bind $stick/atoll/$name $partition/atoll/$name ||
            fail "atoll/$name of the live system cannot be mounted"
    done
}

# Never fails the boot: a live system also starts if the partition is missing, damaged or full.
mount_persistence() {
    [ -n "$persistence" ] || return 1
    why="cannot be mounted"
    if check_persistence && mount --make-private -o rw,noatime "$persistence" $partition; then
        if copy_live_state && [ -d "$partition/atoll/deployments/$deployment/etc" ]; then
            changes=persistence
            return 0
        fi
        umount $partition
        why="cannot be used"
    fi
    note "the persistence partition $why: what is changed now is lost at shutdown"
    return 1
}

# Not systemd-fsck, which ends the boot in an emergency shell if errors remain (status 4 and above).
check_persistence() {
    command -v e2fsck > /dev/null || return 0
    e2fsck -p "$persistence" || [ $? -lt 4 ]
}

# At most half of the memory, so that a full /var makes programs fail, and not the whole system.
mount_memory() {
    mount --make-private -t tmpfs -o mode=0755,size=50% atoll-live $partition ||
        fail "the live system gets no memory for its state"
    copy_live_state || fail "the state of the live system cannot be copied"
}

# Under its final name the directory is complete.
copy_live_state() {
    [ -d $partition/atoll ] && return
    rm -rf $partition/atoll.new
    mkdir -m 0700 $partition/atoll.new || return 1
    for path in "$stick"/atoll/*; do
        case ${path##*/} in
        objects | images) mkdir -m 0700 "$partition/atoll.new/${path##*/}" || return 1 ;;
        *) cp -a "$path" $partition/atoll.new/ || return 1 ;;
        esac
    done
    sync
    mv $partition/atoll.new $partition/atoll
}

# The bind mount at /sysroot does not include the mounts below $partition, so repeat them.
finish_live_mounts() {
    for name in objects images; do
        mount --bind $stick/atoll/$name $root/sysroot/atoll/$name ||
            fail "atoll/$name of the live system cannot be mounted at /sysroot"
    done
    umount -l $stick
    echo "$changes" > /run/atoll/live
    mkdir -p /run/motd.d /run/issue.d
    case $changes in
    memory) echo "This is a live system: changes are lost at shutdown." ;;
    *) echo "This is a live system: changes are kept on its stick." ;;
    esac > /run/motd.d/60-atoll-live
    echo "To install it on this computer: sudo atoll install" >> /run/motd.d/60-atoll-live
    cp /run/motd.d/60-atoll-live /run/issue.d/60-atoll-live.issue
}
