# Record the attempt to boot a new deployment, as evidence if another deployment has to take over. The
# record is written as soon as the state partition is mounted: a boot without one did not get this far.
#
# reads   LoaderBootCountPath        the entry that systemd-boot has started, if it counts its tries
#         atoll/state/blessed/N      empty file: deployment N has been healthy once
# writes  /run/atoll/unblessed       empty file: this deployment has never been healthy
#         /run/atoll/try             the number of this try, if the boot loader counts this boot
#         tries/N/K-started          the name of the entry that try K started: boot_attempts.py
# sets    $attempt, $attempts        the number of this try, and the directory of all tries

efivars=/sys/firmware/efi/efivars
# The vendor GUID of systemd-boot's variables (Boot Loader Interface).
loader=4a67b082-0a4c-41cf-b6c7-440b29bb8c4f
# How many tries a new entry has; TRIES in Python.
max_attempts=3

mount_efivars() {
    [ -d /sys/firmware/efi ] || return
    [ -e $efivars/LoaderInfo-$loader ] ||
        mount -t efivarfs -o nosuid,nodev,noexec efivarfs $efivars 2> /dev/null
}

# Print the file name of the started entry if the boot loader counts its tries; else nothing.
counted_entry() {
    mount_efivars
    # Four bytes of attributes, then UTF-16: \loader\entries\atoll-7+2-1.conf
    # shellcheck disable=SC2002  # the shell complains where the file is not there
    path=$(cat "$efivars/LoaderBootCountPath-$loader" 2> /dev/null |
        tr -d '\000')
    echo "${path##*\\}"
}

record_boot_attempt() {
    # Nothing is on trial: there is one deployment, and its stick stays as it is.
    [ -z "$live" ] || return 0
    [ -e "$partition/atoll/state/blessed/$deployment" ] && return
    : > /run/atoll/unblessed
    entry=$(counted_entry)
    is_entry_name "$entry" && [ "${entry#*+}" != "$entry" ] || return
    if is_past_last_attempt "$entry"; then
        note "deployment $deployment has no tries left but was started, because nothing else can boot" \
            "or because it was chosen in the boot menu"
        return
    fi
    ensure_directory $partition/atoll/state
    ensure_directory $partition/atoll/state/tries
    attempts=$partition/atoll/state/tries/$deployment
    ensure_directory "$attempts"
    number=1
    while [ -e "$attempts/$number-started" ]; do number=$((number + 1)); done
    echo "$entry" > "$attempts/$number-started"
    sync
    attempt=$number
    echo "$attempt" > /run/atoll/try
    # From here on a kernel panic is recorded (pstore), if the firmware has space for it.
    modprobe -q efi_pstore
}

# Whether the boot loader started the entry $1 although it had no tries left. It does so if there is no
# other entry, or if a person chooses it. A failure then must not restart the machine, or it would
# restart for ever.
is_past_last_attempt() {
    counter=${1#*+}
    counter=${counter%.conf}
    case $counter in
    0-*) [ "${counter#0-}" -gt $max_attempts ] ;;
    *) return 1 ;;
    esac
}
