# Mount /etc: an overlay with the tree's /etc as lower and the deployment's changes as upper directory.
#
# reads   deployments/N/etc/merged-from    the state of /etc at staging, for `atoll etc complete`
#         deployments/N/etc/good           the copy of upper that save-good-etc made at a good boot
# writes  deployments/N/etc/upper, work    the overlay's directories
#         deployments/N/etc/broken-K       an upper directory that could not boot
#         /run/atoll/tree-etc, tree        the unchanged /etc of the tree, and the whole tree
# needs   $etc (deployments/N/etc), $deployment, $partition, $root

# On the first boot of a deployment, merge changes to /etc that were made after staging. The new tree's
# own Python does it, in a chroot with the state partition at its final path. If that fails, the staged
# /etc is used.
merge_etc_on_first_boot() {
    [ -e "$etc/merged-from" ] || return 0
    if ! mount -t proc proc $root/proc || ! mount --bind $partition $root/sysroot ||
        ! timeout -k 10 600 chroot $root /usr/bin/env -i LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin \
            /usr/bin/python3 -I -B -m atoll etc complete --root /sysroot --deployment "$deployment"
    then
        note "changes to /etc that were made after this version was staged are missing"
    fi
    mountpoint -q $root/sysroot && umount $root/sysroot
    mountpoint -q $root/proc && umount $root/proc
    # An old record must never be merged into an /etc that has been used since.
    rm -rf "$etc/merged-from"
    sync
}

# If the system could not boot with the deployment's /etc, restore that of its last good boot.
mount_etc() {
    mount --make-private --bind $root /run/atoll/tree || fail "the tree cannot be mounted a second time"
    mount --bind $root/etc /run/atoll/tree-etc || fail "the tree's /etc cannot be mounted"
    ensure_directory "$etc"
    finish_saved_etc
    is_upper_lost && restore_saved_etc "is lost"
    mount_etc_overlay
    has_accounts && return
    umount $root/etc
    restore_saved_etc "has no users left"
    mount_etc_overlay
}

# Finish an interrupted save-good-etc: if good.new exists it is complete, and good may be incomplete.
finish_saved_etc() {
    [ -d "$etc/good.new" ] || return 0
    rm -rf "$etc/good"
    mv "$etc/good.new" "$etc/good"
}

# Whether upper lacks something that the saved copy has: restore_saved_etc was interrupted between its
# two steps, or the file system is damaged. Editing /etc does not cause this, because a deleted file
# leaves a whiteout in upper.
is_upper_lost() {
    [ -d "$etc/good" ] || return 1
    [ -d "$etc/upper" ] || return 0
    is_empty "$etc/good" && return 1
    is_empty "$etc/upper" && return 0
    for file in passwd group shadow gshadow; do
        exists "$etc/good/$file" && ! exists "$etc/upper/$file" && return 0
    done
    return 1
}

# restore_saved_etc REASON: only renames, which need no space. Between them upper is missing while good
# exists, which is_upper_lost detects. save-good-etc makes a new copy at the end of this boot.
restore_saved_etc() {
    if exists "$etc/upper" && ! { [ -d "$etc/upper" ] && is_empty "$etc/upper"; }; then
        number=1
        while exists "$etc/broken-$number"; do number=$((number + 1)); done
        mv "$etc/upper" "$etc/broken-$number"
        note "/etc $1: it is kept as etc/broken-$number of deployment $deployment"
    fi
    [ -d "$etc/good" ] || return
    if [ -d "$etc/upper" ]; then rmdir "$etc/upper"; fi
    mv "$etc/good" "$etc/upper"
    sync
    note "/etc is as it was at the last good boot"
}

mount_etc_overlay() {
    ensure_directory "$etc/upper"
    ensure_directory "$etc/work"
    options=lowerdir=/run/atoll/tree-etc,upperdir=$etc/upper,workdir=$etc/work
    options=$options,redirect_dir=off,metacopy=off,index=off,xino=off
    mount -t overlay -o "$options" etc $root/etc || fail "/etc cannot be mounted"
}

# Whether /etc has users and groups, without which no service starts.
has_accounts() {
    [ -s $root/etc/passwd ] && [ -s $root/etc/group ] || return 1
    [ -s $root/etc/shadow ] || has_own_passwords $root/etc/passwd
}
