# Mount /var and the directories that are bound from it, and restore the machine id.
#
# reads   /usr/lib/atoll/tree-owned    directories below /var that belong to the tree, one per line:
#                                      tree_owned.py
#         atoll/state/machine-id       saved by save-machine-id
#         /etc/fstab                   what else is mounted at /home and its like
#                                      (which /var it is: reset.sh)
# writes  atoll/var                    missing directories of it
# needs   $partition, $root

mount_var() {
    var=$root/var
    ensure_directory $partition/atoll/var
    find_var
    mount --bind "$var_source" $var || fail "/var cannot be mounted"
    mount_tree_owned
    for name in home root srv mnt media opt usrlocal; do
        [ $name = root ] && [ ! -d $var/root ] && mkdir -m 0700 $var/root
        ensure_directory $var/$name
    done
    for name in home root srv mnt media opt; do
        is_in_fstab /$name && continue
        [ $name = home ] && mount_shared_home && continue
        find_in_var $name
        bind_mount "$found" $root/$name
    done
    bind_mount $var/usrlocal $root/usr/local
    mount_package_opt
}

# The list is part of the tree. Without it dpkg's database would be empty, so it is required.
mount_tree_owned() {
    list=$root/usr/lib/atoll/tree-owned
    [ -f $list ] || fail "/usr/lib/atoll/tree-owned of tree $tree is not there"
    read_to_end $list
    while IFS= read -r path; do
        ensure_path $var "${path#/var/}"
        bind_mount "$root/usr/lib/atoll$path" "$root$path"
    done < $list
}

# Packages' files in /opt/X belong to the tree, and are mounted over the machine's own /opt.
mount_package_opt() {
    for package in "$root"/usr/lib/opt/*; do
        [ -d "$package" ] || continue
        ensure_directory "$root/opt/${package##*/}"
        bind_mount "$package" "$root/opt/${package##*/}"
    done
}

# systemd mounts what a line of /etc/fstab says only where nothing is mounted yet.
is_in_fstab() {
    [ -f $root/etc/fstab ] || return 1
    while read -r device_word mount_point rest; do
        case $device_word in "#"*) continue ;; esac
        [ "$mount_point" = "$1" ] && return 0
    done < $root/etc/fstab
    return 1
}

bind_mount() {
    mount --bind "$1" "$2" || warn "${2#"$root"} cannot be mounted"
}

# All deployments of a machine have the same machine id. A new machine has none yet: systemd creates it,
# and atoll-machine-id.service saves it.
restore_machine_id() {
    ensure_directory $partition/atoll/state
    id=$(cat $partition/atoll/state/machine-id 2> /dev/null)
    is_machine_id "$id" || return 0
    [ "$(cat $root/etc/machine-id 2> /dev/null)" = "$id" ] && return 0
    rm -rf $root/etc/machine-id
    echo "$id" > $root/etc/machine-id
    chmod 444 $root/etc/machine-id
}
