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
#
# A boot that the loader counts is noted under atoll/state/tries/N as soon as that can be written, and
# so is the reason when it fails here: evidence, should another deployment have to take over.
#
#   /run/atoll/unblessed    the deployment never came up healthy
#   /run/atoll/try          besides, the loader counts this boot: the number of the try
#   /run/atoll/notes        what a person should read at login, a line each
#   /run/atoll/failed       why early boot failed
#
# A cut may come after any command. What the next boot finds then is one of a few states, and each
# function below knows them (docs/decisions/0016).

set -u
umask 022

state=/run/atoll/state
meta=/run/atoll/meta
root=/sysroot
efivars=/sys/firmware/efi/efivars
loader=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
most_tries=3
try='' mounted=''

fail() {
    /usr/lib/atoll/say "$*"
    echo "atoll: $*" >&2
    mkdir -p /run/atoll
    echo "$*" > /run/atoll/failed
    if [ -n "$try" ]; then
        echo "$*" > "$tries/$try-failed"
        sync
    elif [ -n "$mounted" ]; then
        give_way "$*"
    fi
    exit 1
}

# A deployment that was blessed is not counted: the loader would take it again and again. So another
# one without a counter is asked for, for the next boot only, and says there why.
give_way() {
    read_other_entry
    [ -n "$other" ] || return
    # First the words, then the deed: a cut in between leaves words that tell_gave_way throws away.
    echo "deployment $deployment did not boot ($1); deployment $other runs. Let it stay with:" \
        "atoll rollback $other" > $state/atoll/state/gave-way.new
    sync
    mv $state/atoll/state/gave-way.new $state/atoll/state/gave-way
    sync
    mount_efivars
    # Attributes, then UTF-16 with a zero at its end, in one write.
    text='\007\000\000\000' rest=$name
    while [ -n "$rest" ]; do
        text=$text${rest%"${rest#?}"}'\000'
        rest=${rest#?}
    done
    # shellcheck disable=SC2059  # the text is a format: it has zeros
    printf "$text\000\000" > $efivars/LoaderEntryOneShot-$loader
}

# The first entry without a counter that boots another deployment: its file's $name, and the $other
# deployment. entries.json has a key a line, "entry" before "deployment", as Atoll writes it.
read_other_entry() {
    name='' other=''
    while read -r key value; do
        value=${value%,}
        case $key in
        '"entry":') name=${value#\"} name=${name%\"} ;;
        '"deployment":')
            case $name in
            *+* | '') continue ;;
            esac
            [ "$value" = "$deployment" ] && continue
            other=$value
            break
            ;;
        esac
    done < $state/atoll/state/entries.json
}

# What a deployment that did not boot has left to say, unless this is the one.
tell_gave_way() {
    [ -e $state/atoll/state/gave-way ] || return 0
    gave_way=$(cat $state/atoll/state/gave-way)
    case $gave_way in
    "deployment $deployment did not boot"*) ;;
    *) note "$gave_way" ;;
    esac
    rm -f $state/atoll/state/gave-way
}

warn() {
    echo "atoll: $*" >&2
}

note() {
    warn "$*"
    echo "$*" >> /run/atoll/notes
}

# $1 with a quote for each text in quotes: for the kernel that is never the begin of a word.
unquoted_words() (
    set -f
    IFS='"'
    # shellcheck disable=SC2086  # split at quotes
    set -- $1
    unquoted='' inside=''
    for part; do
        [ -n "$inside" ] && part='"'
        unquoted=$unquoted$part
        [ -n "$inside" ] && inside='' || inside=yes
    done
    printf '%s\n' "$unquoted"
)

# Of each word the first one counts: Atoll's own stand before those of the recipe.
read_command_line() {
    composefs='' device='' deployment='' verity=''
    unquoted=$(unquoted_words "$(cat /proc/cmdline)")
    set -f
    for word in $unquoted; do
        case $word in
        composefs=*) composefs=${composefs:-${word#composefs=}} ;;
        atoll.state=*) device=${device:-${word#atoll.state=}} ;;
        atoll.deployment=*) deployment=${deployment:-${word#atoll.deployment=}} ;;
        atoll.verity=*) verity=${verity:-${word#atoll.verity=}} ;;
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
    mounted=yes
    etc=$state/atoll/deployments/$deployment/etc
    [ -d "${etc%/etc}" ] || fail "deployment $deployment is not there"
}

mount_efivars() {
    [ -d /sys/firmware/efi ] || return
    [ -e $efivars/LoaderInfo-$loader ] ||
        mount -t efivarfs -o nosuid,nodev,noexec efivarfs $efivars 2> /dev/null
}

# The file name of the entry that was started, when the loader counts its tries; else nothing.
counted_entry() {
    mount_efivars
    # Attributes, then UTF-16: \loader\entries\atoll-7+2-1.conf
    path=$(cat $efivars/LoaderBootCountPath-$loader 2> /dev/null |
        tr -d '\000')
    echo "${path##*\\}"
}

note_try() {
    [ -e "$state/atoll/state/blessed/$deployment" ] && return
    : > /run/atoll/unblessed
    entry=$(counted_entry)
    case $entry in
    atoll-*+*.conf) ;;
    *) return ;;
    esac
    if is_beyond_tries "$entry"; then
        note "the tries of deployment $deployment are used up; it was started all the same," \
            "because nothing else boots or by a choice in the menu"
        return
    fi
    ensure_directory $state/atoll/state
    ensure_directory $state/atoll/state/tries
    tries=$state/atoll/state/tries/$deployment
    ensure_directory "$tries"
    number=1
    while [ -e "$tries/$number-started" ]; do number=$((number + 1)); done
    echo "$entry" > "$tries/$number-started"
    sync
    try=$number
    echo "$try" > /run/atoll/try
    # From here on a panic leaves a record, where the firmware has room for one.
    modprobe -q efi_pstore
}

# Whether the loader starts the entry $1 though it has no try left. It does so when it has no other
# one, or when a person chooses it; starting again and again would then help nobody.
is_beyond_tries() {
    counter=${1#*+}
    counter=${counter%.conf}
    case $counter in
    0-*) [ "${counter#0-}" -gt $most_tries ] ;;
    *) return 1 ;;
    esac
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

# The first boot of a deployment takes along what changed in /etc since it was staged. The new tree's
# own Python does it, with the state partition where it will be; a failure leaves what was staged.
complete_etc() {
    [ -e "$etc/merged-from" ] || return 0
    if ! mount -t proc proc $root/proc || ! mount --bind $state $root/sysroot ||
        ! timeout -k 10 600 chroot $root /usr/bin/env -i LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin \
            /usr/bin/python3 -I -B -m atoll etc complete --root /sysroot --deployment "$deployment"
    then
        note "what was changed in /etc since this version was staged has not come along"
    fi
    mountpoint -q $root/sysroot && umount $root/sysroot
    mountpoint -q $root/proc && umount $root/proc
    # An old record must never be merged into an /etc that has been in use.
    rm -rf "$etc/merged-from"
    sync
}

# systemd gives its generators 90 seconds, with all that they read for the first time, and gives up
# when that is over. Here nothing hurries. What cannot be read would stop systemd itself, so it fails
# this boot while another deployment can still be asked for.
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
        read_whole "$root$path"
    done
    for path in "$root"/usr/lib/systemd/system-generators/*; do
        read_whole "$path"
    done
}

read_whole() {
    [ -f "$1" ] || return 0
    cat "$1" > /dev/null || fail "${1#"$root"} of tree $composefs cannot be read"
}

# The tree stays readable as it was built, at /run/atoll/tree, and its /etc at /run/atoll/tree-etc.
# Above that /etc lies what this deployment has changed; when nothing could boot with it, what the
# last good boot kept of it takes its place.
mount_etc() {
    mount --make-private --bind $root /run/atoll/tree || fail "the tree cannot be shown"
    mount --bind $root/etc /run/atoll/tree-etc || fail "the tree's /etc cannot be mounted"
    ensure_directory "$etc"
    settle_good
    lost_upper && restore_good "is lost"
    mount_etc_overlay
    can_boot && return
    umount $root/etc
    restore_good "has no users left"
    mount_etc_overlay
}

# What keep-etc left: good.new, where it is there, is complete, and good may be half removed.
settle_good() {
    [ -d "$etc/good.new" ] || return 0
    rm -rf "$etc/good"
    mv "$etc/good.new" "$etc/good"
}

# Whether something is gone that a good boot had: a cut between the two steps of restore_good, or
# damage. Nobody who works in /etc does that: what is deleted there leaves a mark in the upper directory.
lost_upper() {
    [ -d "$etc/good" ] || return 1
    [ -d "$etc/upper" ] || return 0
    is_empty "$etc/good" && return 1
    is_empty "$etc/upper" && return 0
    for file in passwd group shadow gshadow; do
        is_there "$etc/good/$file" && ! is_there "$etc/upper/$file" && return 0
    done
    return 1
}

is_there() {
    [ -e "$1" ] || [ -L "$1" ]
}

is_empty() {
    for path in "$1"/* "$1"/.[!.]*; do
        is_there "$path" && return 1
    done
    return 0
}

# Renames alone: they need no space, and between them the upper directory is missing while good is
# there, which lost_upper knows. keep-etc copies it again at the end of this boot.
restore_good() {
    if is_there "$etc/upper" && ! { [ -d "$etc/upper" ] && is_empty "$etc/upper"; }; then
        number=1
        while is_there "$etc/broken-$number"; do number=$((number + 1)); done
        mv "$etc/upper" "$etc/broken-$number"
        note "/etc $1: it is kept as etc/broken-$number of deployment $deployment"
    fi
    [ -d "$etc/good" ] || return
    if [ -d "$etc/upper" ]; then rmdir "$etc/upper"; fi
    mv "$etc/good" "$etc/upper"
    sync
    note "/etc is as the last good boot had it"
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

main() {
    read_command_line
    mount_state
    note_try
    check_image
    mount_tree
    read_ahead
    complete_etc
    mount_etc
    mount_var
    restore_machine_id
    tell_gave_way
    mount_sysroot
    write_booted
}

main
