# The tree: its image is verified, then mounted at /.
#
# reads   atoll/images/DIGEST    the tree's EROFS image: names, modes, small contents
#         atoll/objects/         the other contents
# needs   $tree, $verity, $partition, $root
#
# The image is measured before it is mounted, because the overlay's verity=require covers only the
# contents in atoll/objects.

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
    # With fs-verity the digest is that of the Merkle tree, and only reading compares the blocks with it.
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
    # A mount point of its own, so that a live apply can mount another /usr beneath it.
    mount --bind $root/usr $root/usr || fail "/usr cannot be mounted"
}

# Read what systemd reads until its generators are done. systemd kills the generators after 90 seconds
# and gives up, also when only a cold disk is slow; here there is time. What cannot be read would stop
# systemd itself, so it fails this boot while another deployment can still be asked for.
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
