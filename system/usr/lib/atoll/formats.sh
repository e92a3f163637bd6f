# shellcheck shell=sh disable=SC2034  # the scripts that source this file use the variables
# Readers and writers of the formats that shell and Python share (docs/reference/contracts.md). Sourced
# by early boot and by the programs in /usr/lib/atoll. The initrd has this file too, at the same path.
#
# A reader accepts exactly what the writer of the file writes, and fails for everything else: a damaged
# file, or one of a later format, must not be misread.

# Whether $1 is the number of a deployment or of an entry: deployment.is_number in Python.
is_number() {
    case $1 in
    '' | 0* | *[!0-9]*) return 1 ;;
    esac
    [ ${#1} -le 9 ]
}

# Whether $1 is a number of tries in the name of a boot entry.
is_count() {
    case $1 in
    '' | *[!0-9]*) return 1 ;;
    esac
    [ ${#1} -le 4 ]
}

# Whether $1 is the digest of a tree.
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

# Whether $1 is the file name of a boot entry, atoll-SEQUENCE[+LEFT[-USED]].conf: parse_entry_name in
# Python.
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

# Whether the file $1 has only printable ASCII and line feeds. `read` drops NUL bytes, so without this
# check a damaged file could look valid.
is_ascii_text() {
    [ -f "$1" ] && other=$(tr -d '\n -~' < "$1" | tr '\000' '?') && [ -z "$other" ]
}

# Read the file $1 (atoll/state/home); sets $home: a directory, as a path from the root of the state
# partition without a slash at its begin.
read_home() {
    home=''
    is_ascii_text "$1" || return 1
    more=''
    { IFS= read -r home && ! IFS= read -r more && [ -z "$more" ]; } < "$1" || return 1
    case /$home/ in
    *//* | */./* | */../*) return 1 ;;
    esac
}

# Print the content of /run/atoll/booted for deployment $1 and tree $2.
format_booted() {
    printf '{"deployment": %s, "tree": "%s"}\n' "$1" "$2"
}

# Read the file $1 (/run/atoll/booted); sets $deployment and $tree.
read_booted() {
    deployment='' tree=''
    is_ascii_text "$1" || return 1
    # Exactly one line.
    more=''
    { IFS= read -r text && ! IFS= read -r more && [ -z "$more" ]; } < "$1" || return 1
    deployment=${text#'{"deployment": '}
    deployment=${deployment%%,*}
    tree=${text#*'"tree": "'}
    tree=${tree%'"}'}
    is_number "$deployment" && is_digest "$tree" &&
        [ "$text" = "$(format_booted "$deployment" "$tree")" ]
}

# Whether the passwd file $1 contains root's password, as after pwunconv: then /etc/shadow is not needed.
has_own_passwords() {
    while IFS=: read -r name password _; do
        [ "$name" != root ] || [ -z "$password" ] || [ "$password" = x ] || return 0
    done < "$1"
    return 1
}

# Read the file $1 (atoll/state/entries.json); sets $fallback_entry and $fallback: the first boot entry
# without a counter of another deployment than $2, and that deployment. Both are empty if there is none.
# The file is read to its end: if it is damaged anywhere, nothing in it is trusted.
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
    # A last line without line feed means that the file is truncated.
    [ $expected = end ] && [ -z "$line" ] || return 1
    fallback=$found fallback_entry=$found_entry
}
