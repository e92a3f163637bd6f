#!/bin/sh
# ci.sh: lock --update, check, build, test, publish: all that the workflow and the timer run.
#
# Publishes into the OCI layout $PUBLISH (./publish), as @NAME@:stable there, and only when the lock
# moved and the test passed. The lock moves with Debian, and with every file of the recipe. What
# fails leaves the lock and what is published as they were, so the next run tries again.
# --force: even when nothing has changed. --moved: not for a lock that did not move, even though
# nothing is published here; for a runner that starts empty each night.
# Exit codes: 0 published, 77 nothing has changed, others are atoll's.
# ATOLL_STORE: another store than the user's own.
set -eu
cd "$(dirname "$0")"
publish=${PUBLISH:-$PWD/publish}
force='' moved=''
case ${1:-} in
    --force) force=yes ;;
    --moved) moved=yes ;;
    ?*) echo "usage: ci.sh [--force|--moved]" >&2; exit 2 ;;
esac

say() { echo "ci.sh: $*" >&2; }
atoll_() { # the verb, then its words; the store is where it keeps what it builds
    verb=$1
    shift
    if [ "${ATOLL_STORE:-}" ]; then set -- --store "$ATOLL_STORE" "$@"; fi
    atoll "$verb" "$@"
}

before=$(mktemp)
[ ! -e atoll.lock ] || cp atoll.lock "$before"
done_=
put_back() {
    if [ ! "$done_" ]; then
        if [ -s "$before" ]; then cp "$before" atoll.lock; else rm -f atoll.lock; fi
    fi
    rm -f "$before"
}
trap put_back EXIT
trap 'exit 130' INT TERM HUP

status=0
atoll_ lock . --update || status=$?
case $status in
    0 | 77) ;;
    *) say "the lock cannot be made"; exit "$status" ;;
esac
known=$moved
[ ! -e "$publish/index.json" ] || known=yes
if cmp -s atoll.lock "$before" && [ "$known" ] && [ ! "$force" ]; then
    say "nothing has changed"
    done_=yes
    exit 77
fi

atoll_ check .
# The lock decides; what a new one does not say yet (ids, the tree) the build writes into it.
atoll_ build .
atoll_ test .
# The same build again, from the cache: now that it passed, it gets a name that machines follow.
atoll_ build --locked . --output "oci:$publish:stable"
done_=yes
say "published: oci:$publish:stable"
