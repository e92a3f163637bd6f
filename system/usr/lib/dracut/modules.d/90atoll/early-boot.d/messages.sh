# Failures and messages of early boot. Texts are printed with printf, as the echo of some shells
# interprets backslashes.
#
# reads   $attempt, $attempts ($attempt is empty: this boot is not counted), $is_partition_mounted
# writes  /run/atoll/failed          why early boot failed: for reboot-after-failure
#         /run/atoll/notes           messages to show at login, one per line: boot_failure_report.py
#         tries/N/K-failed           why a counted boot failed: boot_attempts.py

attempt='' is_partition_mounted=''

# fail REASON: show it on all consoles, record it for the next boot, and exit.
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

# warn TEXT: to the journal.
warn() {
    printf 'atoll: %s\n' "$*" >&2
}

# note TEXT: to the journal, and shown at login.
note() {
    warn "$*"
    printf '%s\n' "$*" >> /run/atoll/notes
}
