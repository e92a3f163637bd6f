# Create directories that early boot needs on the state partition. Anything else in their place is moved
# aside and kept.

exists() {
    [ -e "$1" ] || [ -L "$1" ]
}

is_empty() {
    for path in "$1"/* "$1"/.[!.]*; do
        exists "$path" && return 1
    done
    return 0
}

# Make $1 a directory and not a link. Anything else there is renamed to NAME.displaced-N.
ensure_directory() {
    if [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; then
        number=1
        while exists "$1.displaced-$number"; do number=$((number + 1)); done
        warn "$1 is not a directory: moved to ${1##*/}.displaced-$number"
        mv "$1" "$1.displaced-$number"
    fi
    [ -d "$1" ] || mkdir "$1"
}

# Like ensure_directory, for $2 (relative) and all its parents below $1.
ensure_path() {
    below=$1
    rest=$2
    while [ -n "$rest" ]; do
        below=$below/${rest%%/*}
        ensure_directory "$below"
        case $rest in
        */*) rest=${rest#*/} ;;
        *) rest='' ;;
        esac
    done
}
