# The kernel command line: which tree, state partition and deployment boot.
#
# reads   /proc/cmdline, as the boot entry has it (format_entry in Python)
# sets    $tree          composefs=DIGEST: the fs-verity digest of the tree's image
#         $device        atoll.state=UUID=…: the file system of the state partition
#         $deployment    atoll.deployment=N: the deployment whose /etc is mounted
#         $verity        atoll.verity=require: all content must have fs-verity
#         $live          atoll.live=1: a live system, whose medium is only read
#         $persistence   atoll.persistence=UUID=…: the file system for its changes
#         $volume        rd.luks.name=UUID=NAME: the encrypted volume that it is in
# by      early boot, and early-boot-generator.sh before it

# Print the kernel command line without text in double quotes: the kernel does not split inside quotes.
# A quote character stays in its place, so that text right behind a closing quote does not look like the
# beginning of a parameter.
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

# Of several parameters with the same name the first counts: Atoll's precede those of the recipe.
find_boot_parameters() {
    tree='' device='' deployment='' verity='' live='' persistence='' volume=''
    parameters=$(drop_quoted_text "$(cat /proc/cmdline)")
    set -f
    for parameter in $parameters; do
        case $parameter in
        composefs=*) tree=${tree:-${parameter#composefs=}} ;;
        atoll.state=*) device=${device:-${parameter#atoll.state=}} ;;
        atoll.deployment=*) deployment=${deployment:-${parameter#atoll.deployment=}} ;;
        atoll.verity=*) verity=${verity:-${parameter#atoll.verity=}} ;;
        atoll.live=*) live=${live:-${parameter#atoll.live=}} ;;
        atoll.persistence=*) persistence=${persistence:-${parameter#atoll.persistence=}} ;;
        rd.luks.name=*=?*) volume=${volume:-${parameter##*=}} ;;
        esac
    done
    set +f
}

read_command_line() {
    find_boot_parameters
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
