# Request another deployment for the next boot when one without a boot counter fails. It was healthy
# before, so its entry has no counter, and the boot loader would start it again and again.
#
# reads   atoll/state/entries.json   the entries in the order of the boot menu: format_entry_list in Python
# writes  LoaderEntryOneShot         the entry that systemd-boot starts at the next boot only
# both    atoll/state/gave-way       one line, `deployment N did not boot (REASON); …`, which the next
#                                    deployment shows at login. Older and newer images read it.

# request_fallback REASON
request_fallback() {
    entries=$partition/atoll/state/entries.json
    exists $entries || return
    if ! read_fallback $entries "$deployment"; then
        /usr/lib/atoll/print-to-consoles \
            "atoll/state/entries.json cannot be read: choose another deployment in the boot menu"
        return
    fi
    [ -n "$fallback" ] || return
    # Write the text first. If the power fails before the variable is set, this deployment starts again;
    # if it boots then, report_failed_deployment removes the text.
    printf 'deployment %s did not boot (%s); deployment %s runs. To keep it: atoll rollback %s\n' \
        "$deployment" "$1" "$fallback" "$fallback" > $partition/atoll/state/gave-way.new
    sync
    mv $partition/atoll/state/gave-way.new $partition/atoll/state/gave-way
    sync
    mount_efivars
    write_one_shot "$fallback_entry"
}

# Four bytes of attributes, then zero-terminated UTF-16. efivarfs needs all of it in one write.
write_one_shot() {
    bytes='\007\000\000\000' rest=$1
    while [ -n "$rest" ]; do
        bytes=$bytes${rest%"${rest#?}"}'\000'
        rest=${rest#?}
    done
    # shellcheck disable=SC2059  # the escapes are for printf
    printf "$bytes\000\000" > $efivars/LoaderEntryOneShot-$loader
}

# Show the text of a deployment that did not boot, unless it is this one; then remove the text.
report_failed_deployment() {
    [ -e $partition/atoll/state/gave-way ] || return 0
    text=$(cat $partition/atoll/state/gave-way)
    case $text in
    "deployment $deployment did not boot"*) ;;
    *) note "$text" ;;
    esac
    rm -f $partition/atoll/state/gave-way
}
