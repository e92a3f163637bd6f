# How early boot fails, and how it tells people something. Texts are printed by printf, because the echo
# of some shells changes backslashes in them.
#
# reads   $attempt, $attempts ($attempt is empty: this boot is not counted), $is_partition_mounted
# writes  /run/atoll/failed          why early boot failed: for reboot-after-failure
#         /run/atoll/notes           what a person should read at login, a line each: boot_failure_report.py
#         tries/N/K-failed           why a counted boot failed: boot_attempts.py

attempt='' is_partition_mounted=''

# fail REASON: on the screens, and where the next boot finds it.
fail() {
    /usr/lib/atoll/print-to-consoles "$*"
    warn "$*"
    mkdir -p /run/atoll
    printf '%s\n' "$*" > /run/atoll/failed
    if [ -n "$attempt" ]; then
        # The boot loader counts this boot, and takes another entry after the last try.
        printf '%s\n' "$*" > "$attempts/$attempt-failed"
        sync
    elif [ -n "$is_partition_mounted" ]; then
        request_fallback "$*"
    fi
    exit 1
}

# warn TEXT: in the journal.
warn() {
    printf 'atoll: %s\n' "$*" >&2
}

# note TEXT: in the journal, and at login.
note() {
    warn "$*"
    printf '%s\n' "$*" >> /run/atoll/notes
}
