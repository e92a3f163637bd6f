# shellcheck shell=sh disable=SC2034  # whoever sources this uses the variables
# Formats that shell and Python share (docs/reference/contracts.md), for shell. Sourced by early boot
# and by the programs in /usr/lib/atoll. The initrd has this file too, at the same path.
#
# A reader accepts exactly what the writer of the file writes, and fails for everything else: a file
# that is damaged, or of a format that comes later, must never be read as something that it does not say.

# A number of a deployment or of an entry: deployment.is_number in Python.
is_number() {
    case $1 in
    '' | 0* | *[!0-9]*) return 1 ;;
    esac
    [ ${#1} -le 9 ]
}

# A number of tries in the name of a boot entry.
is_count() {
    case $1 in
    '' | *[!0-9]*) return 1 ;;
    esac
    [ ${#1} -le 4 ]
}

# The digest of a tree.
is_digest() {
    case $1 in
    *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} = 64 ]
}

is_machine_id() {
    case $1 in
    *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} = 32 ]
}

# The file name of a boot entry: atoll-SEQUENCE[+LEFT[-USED]].conf, parse_entry_name in Python.
is_entry_name() {
    case $1 in
    atoll-*.conf) ;;
    *) return 1 ;;
    esac
    name=${1#atoll-}
    name=${name%.conf}
    is_number "${name%%+*}" || return 1
    case $name in
    *+*-*)
        counter=${name#*+}
        is_count "${counter%%-*}" && is_count "${counter#*-}"
        ;;
    *+*) is_count "${name#*+}" ;;
    esac
}

# Whether the file $1 has nothing but printable ASCII and line feeds. `read` drops zero bytes, so a
# damaged file could look like a good one.
is_ascii_text() {
    [ -f "$1" ] && other=$(tr -d '\n -~' < "$1" | tr '\000' '?') && [ -z "$other" ]
}

# /run/atoll/booted for the deployment $1 of the tree $2.
format_booted() {
    printf '{"deployment": %s, "tree": "%s"}\n' "$1" "$2"
}

# Sets $deployment and $tree to what the file $1 (/run/atoll/booted) says.
read_booted() {
    deployment='' tree=''
    is_ascii_text "$1" || return 1
    # One line and nothing behind it.
    more=''
    { IFS= read -r text && ! IFS= read -r more && [ -z "$more" ]; } < "$1" || return 1
    deployment=${text#'{"deployment": '}
    deployment=${deployment%%,*}
    tree=${text#*'"tree": "'}
    tree=${tree%'"}'}
    is_number "$deployment" && is_digest "$tree" &&
        [ "$text" = "$(format_booted "$deployment" "$tree")" ]
}

# Whether the passwd file $1 has passwords of its own, as pwunconv leaves it: then no shadow is missing.
has_own_passwords() {
    while IFS=: read -r name password _; do
        [ "$name" != root ] || [ -z "$password" ] || [ "$password" = x ] || return 0
    done < "$1"
    return 1
}

# Sets $fallback_entry and $fallback: the first boot entry without a counter that boots another
# deployment than $2, and that deployment; both empty when there is none. The file $1
# (atoll/state/entries.json) is read to its end, for what is damaged anywhere is not trusted.
read_fallback() {
    fallback='' fallback_entry=''
    is_ascii_text "$1" || return 1
    found='' found_entry='' expected=start line=''
    while IFS= read -r line; do
        case $expected:$line in
        'start:[]') expected=end ;;
        'start:[') expected=open ;;
        'open: {') expected=entry ;;
        'entry:  "entry": "'*'",')
            entry=${line#'  "entry": "'}
            entry=${entry%'",'}
            is_entry_name "$entry" || return 1
            expected=deployment
            ;;
        'deployment:  "deployment": '*)
            number=${line#'  "deployment": '}
            is_number "$number" || return 1
            if [ -z "$found" ] && [ "$number" != "$2" ] && [ "${entry#*+}" = "$entry" ]; then
                found=$number found_entry=$entry
            fi
            expected=close
            ;;
        'close: },') expected=open ;;
        'close: }') expected=last ;;
        'last:]') expected=end ;;
        *) return 1 ;;
        esac
    done < "$1"
    # The rest is a line without its line feed: the file was cut.
    [ $expected = end ] && [ -z "$line" ] || return 1
    fallback=$found fallback_entry=$found_entry
}
