# Verify the tree's image, and mount the tree at $root.
#
# reads   atoll/images/DIGEST    the tree's EROFS image: names, metadata, small files
#         atoll/objects/         the content of all other files
# needs   $tree, $verity, $partition, $root
#
# The image's digest is checked before it is mounted, because the overlay option verity=require covers
# only the objects.

verify_image() {
    image=$partition/atoll/images/$tree
    [ -f "$image" ] || fail "the image of tree $tree is not there"
    if [ "$verity" = require ]; then
        digest=$(fsverity measure "$image") || fail "the image of tree $tree has no fs-verity"
        digest=${digest%% *}
        digest=${digest#sha256:}
    else
        digest=$(fsverity digest --compact "$image") || fail "the image of tree $tree cannot be read"
    fi
    [ "$digest" = "$tree" ] ||
        fail "the image of tree $tree has digest $digest: it is damaged or not that tree"
    # fs-verity measures only the Merkle tree; the blocks are compared with it when they are read.
    cat "$image" > /dev/null || fail "the image of tree $tree is damaged"
}

mount_tree() {
    mount -t erofs -o ro "$image" /run/atoll/tree-image ||
        fail "the image of tree $tree cannot be mounted"
    options=ro,lowerdir=/run/atoll/tree-image::$partition/atoll/objects
    options=$options,metacopy=on,redirect_dir=on
    [ "$verity" = require ] && options=$options,verity=require
    mount --make-private -t overlay -o "$options" composefs $root ||
        fail "tree $tree cannot be mounted"
    umount /run/atoll/tree-image
    # A mount of its own, so that a live apply can mount another /usr beneath it.
    mount --bind $root/usr $root/usr || fail "/usr cannot be mounted"
}

# Read what systemd reads until its generators have run. systemd kills the generators after 90 seconds
# and gives up, even if the disk is only slow; here there is no such limit. A file that cannot be read
# would stop systemd itself, so fail here, where another deployment can still be requested.
read_ahead() {
    libraries=$(
        chroot $root /usr/bin/env LD_TRACE_LOADED_OBJECTS=1 /usr/lib/systemd/systemd 2> /dev/null |
            while read -r word arrow path _; do
                [ "$arrow" = '=>' ] || path=$word
                case $path in
                /*) echo "$path" ;;
                esac
            done
    )
    for path in /usr/lib/systemd/systemd /usr/lib/systemd/systemd-executor $libraries \
        /usr/bin/sh /usr/bin/grep; do
        read_to_end "$root$path"
    done
    for path in "$root"/usr/lib/systemd/system-generators/*; do
        read_to_end "$path"
    done
}

read_to_end() {
    [ -f "$1" ] || return 0
    cat "$1" > /dev/null || fail "${1#"$root"} of tree $tree cannot be read"
}
