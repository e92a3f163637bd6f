# A live system: its stick is only read. What other machines write to their state partition is in memory,
# or on a partition of the stick that is for nothing else.
#
# reads   atoll/images, atoll/objects     of the stick: mounted where the store of the system is
#         atoll/…                         the rest of the stick: copied, it is a few files
#         $persistence                    the file system for what shall stay, if there is one
# writes  /run/atoll/live                 `memory` or `persistence`: where changes go; sysroot.py reads it
#         /run/motd.d, /run/issue.d       what kind of system this is
# needs   $device, $partition, $root
#
# /var is a directory of the memory's own file system, never an overlay over the stick: containers and
# sandboxes put overlays of their own there, and the kernel takes no upper directory on an overlay.

stick=/run/atoll/stick

# As mount_state_partition, but $partition is a file system in which only objects and images are the stick's.
mount_live_state() {
    mkdir -p $stick
    # noload: without it a kernel replays a journal even on a read-only mount.
    mount --make-private -o ro,noatime,noload "$device" $stick ||
        fail "the partition $device of the live system cannot be mounted"
    changes=memory
    mount_persistence || mount_memory
    copy_live_state
    for name in objects images; do
        mount --bind $stick/atoll/$name $partition/atoll/$name ||
            fail "atoll/$name of the live system cannot be mounted"
    done
}

# A live system comes up with a partition that is damaged or gone, too.
mount_persistence() {
    [ -n "$persistence" ] || return 1
    if check_persistence && mount --make-private -o rw,noatime "$persistence" $partition; then
        changes=persistence
        return 0
    fi
    note "the persistence partition cannot be mounted: what is changed now is lost at shutdown"
    return 1
}

# Not systemd-fsck, which ends the boot in an emergency shell when errors remain. From 4 on they do.
check_persistence() {
    command -v e2fsck > /dev/null || return 0
    e2fsck -p "$persistence" || [ $? -lt 4 ]
}

# Half of the memory at most, so that /var being full is an error of a program, not the end of the system.
mount_memory() {
    mount --make-private -t tmpfs -o mode=0755,size=50% atoll-live $partition ||
        fail "the live system gets no memory for its state"
}

# A directory that has its name is complete.
copy_live_state() {
    [ -d $partition/atoll ] && return
    rm -rf $partition/atoll.new
    mkdir -m 0700 $partition/atoll.new
    for path in "$stick"/atoll/*; do
        case ${path##*/} in
        objects | images) mkdir -m 0700 "$partition/atoll.new/${path##*/}" ;;
        *) cp -a "$path" $partition/atoll.new/ || fail "the state of the live system cannot be copied" ;;
        esac
    done
    sync
    mv $partition/atoll.new $partition/atoll
}

# /sysroot is a mount of its own, which the mounts on $partition are not part of.
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
