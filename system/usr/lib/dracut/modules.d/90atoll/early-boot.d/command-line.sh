# The kernel command line: which tree, state partition and deployment boot.
#
# reads   /proc/cmdline, as the boot entry has it (format_entry in Python)
# sets    $tree          composefs=DIGEST: the fs-verity digest of the tree's image
#         $device        atoll.state=UUID=…: the file system of the state partition
#         $deployment    atoll.deployment=N: whose /etc it is
#         $verity        atoll.verity=require: contents must carry fs-verity
#         $live          atoll.live=1: a live system, whose stick is only read
#         $persistence   atoll.persistence=UUID=…: the file system for its changes
# used    by early boot, and by early-boot-generator.sh before it

# Words of the kernel command line, without those in double quotes. The kernel takes what is in quotes
# for one word, and splits nowhere inside. A quote stays in its place, so that what stands right behind
# a closing quote is not read as the begin of a word.
drop_quoted_text() (
    set -f
    IFS='"'
    # shellcheck disable=SC2086  # split at quotes
    set -- $1
    rest='' inside=''
    for part; do
        [ -n "$inside" ] && part='"'
        rest=$rest$part
        [ -n "$inside" ] && inside='' || inside=yes
    done
    printf '%s\n' "$rest"
)

# The first of several equal words counts: Atoll's own are before those of the recipe.
find_boot_words() {
    tree='' device='' deployment='' verity='' live='' persistence=''
    words=$(drop_quoted_text "$(cat /proc/cmdline)")
    set -f
    for word in $words; do
        case $word in
        composefs=*) tree=${tree:-${word#composefs=}} ;;
        atoll.state=*) device=${device:-${word#atoll.state=}} ;;
        atoll.deployment=*) deployment=${deployment:-${word#atoll.deployment=}} ;;
        atoll.verity=*) verity=${verity:-${word#atoll.verity=}} ;;
        atoll.live=*) live=${live:-${word#atoll.live=}} ;;
        atoll.persistence=*) persistence=${persistence:-${word#atoll.persistence=}} ;;
        esac
    done
    set +f
}

read_command_line() {
    find_boot_words
    is_digest "$tree" || fail "the kernel command line has no composefs=DIGEST"
    is_number "$deployment" || fail "the kernel command line has no atoll.deployment=NUMBER"
    case $verity in
    require | '') ;;
    *) fail "atoll.verity=$verity on the kernel command line is unknown" ;;
    esac
    case $live in
    1 | '') ;;
    *) fail "atoll.live=$live on the kernel command line is unknown" ;;
    esac
    [ -n "$device" ] || fail "the kernel command line has no atoll.state="
}
