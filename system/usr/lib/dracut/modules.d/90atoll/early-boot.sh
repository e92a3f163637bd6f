#!/bin/sh
# Early boot: make /sysroot the system that the kernel command line names.
#
#   composefs=DIGEST        the tree: fs-verity digest of its image in the state partition
#   atoll.state=UUID=…      the state partition
#   atoll.deployment=N      whose /etc it is
#   atoll.verity=require    contents must carry fs-verity (the state partition has the feature)
#
# The tree's image is measured before it is mounted: names, modes and small files live in it, and
# the overlay's verity=require covers the contents only. What is the tree's must be right or the boot
# fails. What is the person's (/var and below) is put right or reported, and never stops a boot.

set -u
umask 022

state=/run/atoll/state
meta=/run/atoll/meta
root=/sysroot

fail() {
    echo "atoll: $*" > /dev/console
    echo "atoll: $*" >&2
    exit 1
}

warn() {
    echo "atoll: $*" >&2
}

read_command_line() {
    composefs='' device='' deployment='' verity=''
    set -f
    for word in $(cat /proc/cmdline); do
        case $word in
        composefs=*) composefs=${word#composefs=} ;;
        atoll.state=*) device=${word#atoll.state=} ;;
        atoll.deployment=*) deployment=${word#atoll.deployment=} ;;
        atoll.verity=*) verity=${word#atoll.verity=} ;;
        esac
    done
    set +f
    case $composefs in
    *[!0-9a-f]* | '') fail "the kernel command line has no composefs=DIGEST" ;;
    esac
    case $deployment in
    *[!0-9]* | '') fail "the kernel command line has no atoll.deployment=NUMBER" ;;
    esac
    case $verity in
    require | '') ;;
    *) fail "atoll.verity=$verity is not known" ;;
    esac
    [ -n "$device" ] || fail "the kernel command line has no atoll.state="
}

mount_state() {
    mkdir -p $state $meta /run/atoll/tree /run/atoll/tree-etc
    # Private, here and below: what is mounted in one place must not show in the other.
    mount --make-private -o rw,noatime "$device" $state ||
        fail "the state partition $device cannot be mounted"
    etc=$state/atoll/deployments/$deployment/etc
    [ -d "${etc%/etc}" ] || fail "deployment $deployment is not there"
}

check_image() {
    image=$state/atoll/images/$composefs
    [ -f "$image" ] || fail "the image of tree $composefs is not there"
    if [ "$verity" = require ]; then
        found=$(fsverity measure "$image") || fail "the image of tree $composefs has no fs-verity"
        found=${found%% *}
        found=${found#sha256:}
    else
        found=$(fsverity digest --compact "$image") || fail "the image of tree $composefs cannot be read"
    fi
    [ "$found" = "$composefs" ] ||
        fail "the image of tree $composefs has digest $found: it is damaged or not that tree"
    # With fs-verity the digest is that of the Merkle tree: reading compares each block with it.
    cat "$image" > /dev/null || fail "the image of tree $composefs is damaged"
}

mount_tree() {
    mount -t erofs -o ro "$image" $meta || fail "the image of tree $composefs cannot be mounted"
    options=ro,lowerdir=$meta::$state/atoll/objects,metacopy=on,redirect_dir=on
    [ "$verity" = require ] && options=$options,verity=require
    mount --make-private -t overlay -o "$options" composefs $root ||
        fail "tree $composefs cannot be mounted"
    umount $meta
    # A mount point of its own, so that a live apply can put another /usr beneath it.
    mount --bind $root/usr $root/usr || fail "/usr cannot be mounted"
}

# The tree stays readable as it was built, at /run/atoll/tree, and its /etc at /run/atoll/tree-etc.
# Above that /etc lies what this deployment has changed; when nothing could boot with it, what the
# last good boot kept of it takes its place.
mount_etc() {
    mount --make-private --bind $root /run/atoll/tree || fail "the tree cannot be shown"
    mount --bind $root/etc /run/atoll/tree-etc || fail "the tree's /etc cannot be mounted"
    ensure_directory "$etc"
    mount_etc_overlay
    can_boot && return
    umount $root/etc
    number=1
    while [ -e "$etc/broken-$number" ]; do number=$((number + 1)); done
    warn "/etc has no users left: it is kept as etc/broken-$number of deployment $deployment"
    mv "$etc/upper" "$etc/broken-$number"
    if [ -d "$etc/good" ]; then
        rm -rf "$etc/upper.new"
        cp -a "$etc/good" "$etc/upper.new"
        sync
        mv "$etc/upper.new" "$etc/upper"
    fi
    mount_etc_overlay
}

mount_etc_overlay() {
    ensure_directory "$etc/upper"
    ensure_directory "$etc/work"
    options=lowerdir=/run/atoll/tree-etc,upperdir=$etc/upper,workdir=$etc/work
    options=$options,redirect_dir=off,metacopy=off,index=off,xino=off
    mount -t overlay -o "$options" etc $root/etc || fail "/etc cannot be mounted"
}

# Whether services find their users: what a wiped or emptied /etc no longer has.
can_boot() {
    [ -s $root/etc/passwd ] && [ -s $root/etc/group ] && [ -s $root/etc/shadow ]
}

# A real directory at $1, whatever was there: anything else keeps its content under another name.
ensure_directory() {
    if [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; then
        number=1
        while [ -e "$1.displaced-$number" ] || [ -L "$1.displaced-$number" ]; do
            number=$((number + 1))
        done
        warn "$1 is not a directory: moved to ${1##*/}.displaced-$number"
        mv "$1" "$1.displaced-$number"
    fi
    [ -d "$1" ] || mkdir "$1"
}

# Like ensure_directory, for $2 (relative) and all its parents below $1.
ensure_path() {
    below=$1
    rest=$2
    while [ -n "$rest" ]; do
        below=$below/${rest%%/*}
        ensure_directory "$below"
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest='' ;;
        esac
    done
}

bind() {
    mount --bind "$1" "$2" || warn "${2#"$root"} cannot be mounted"
}

mount_var() {
    var=$root/var
    ensure_directory $state/atoll/var
    mount --bind $state/atoll/var $var || fail "/var cannot be mounted"
    while read -r path; do
        ensure_path $var "${path#/var/}"
        bind "$root/usr/lib/atoll$path" "$root$path"
    done < $root/usr/lib/atoll/tree-owned
    for place in home root srv mnt media opt usrlocal; do
        [ $place = root ] && [ ! -d $var/root ] && mkdir -m 0700 $var/root
        ensure_directory $var/$place
    done
    for place in home root srv mnt media opt; do
        bind $var/$place $root/$place
    done
    bind $var/usrlocal $root/usr/local
    bind_opt
}

# What packages ship in /opt/X is the tree's: it lies over the person's /opt.
bind_opt() {
    for package in "$root"/usr/lib/opt/*; do
        [ -d "$package" ] || continue
        ensure_directory "$root/opt/${package##*/}"
        bind "$package" "$root/opt/${package##*/}"
    done
}

is_machine_id() {
    case $1 in
    *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} = 32 ]
}

# One machine, one id, whatever deployment runs. A new machine has none: systemd makes it, and
# atoll-machine-id.service keeps it.
restore_machine_id() {
    ensure_directory $state/atoll/state
    id=$(cat $state/atoll/state/machine-id 2> /dev/null)
    is_machine_id "$id" || return 0
    [ "$(cat $root/etc/machine-id 2> /dev/null)" = "$id" ] && return 0
    rm -rf $root/etc/machine-id
    echo "$id" > $root/etc/machine-id
    chmod 444 $root/etc/machine-id
}

# /sysroot is there to be read. Atoll writes to it in a mount namespace of its own.
mount_sysroot() {
    mount --bind $state/ $root/sysroot || fail "/sysroot cannot be mounted"
    mount -o remount,bind,ro $root/sysroot || fail "/sysroot cannot be made read-only"
    # Lazily: the image stays open for as long as the tree is mounted.
    umount -l $state
}

write_booted() {
    printf '{"deployment": %s, "tree": "%s"}\n' "$deployment" "$composefs" > /run/atoll/booted.new
    mv /run/atoll/booted.new /run/atoll/booted
}

read_command_line
mount_state
check_image
mount_tree
mount_etc
mount_var
restore_machine_id
mount_sysroot
write_booted
