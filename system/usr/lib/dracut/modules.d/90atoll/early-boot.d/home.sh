# Mount /home of a machine that lives beside an older system: the home directories that system has.
#
# reads   atoll/state/home    their directory, from the root of the state partition: beside.py
# needs   $partition, $root
#
# A tree with this file can be installed beside an older system.

# Fails where /home is that of this system alone, as on other machines.
mount_shared_home() {
    file=$partition/atoll/state/home
    [ -e $file ] || return 1
    if read_home "$file" && ! [ -L "$partition/$home" ] && [ -d "$partition/$home" ]; then
        bind_mount "$partition/$home" $root/home
        return 0
    fi
    note "the home directories of the older system cannot be found: /home has only those of this one"
    return 1
}
