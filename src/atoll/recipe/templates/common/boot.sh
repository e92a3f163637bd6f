#!/bin/sh
# Runs as root inside of the booted image (atoll test). Status 0: good, 77: skipped, else: failed.
# Every tests/*.sh runs, in the order of the names. `atoll test` looks itself whether the boot was
# found healthy and no unit failed; test here what your system is for.
set -eu

# shellcheck source=/dev/null
. /etc/os-release
echo "this is $PRETTY_NAME, Linux $(uname -r)"

# The system is the image, and cannot be changed in place.
atoll status
! touch /usr/bin/x 2>/dev/null || { echo "/usr can be written" >&2; exit 1; }

# The disk is not full, and the clock has been set at all.
[ "$(date +%Y)" -ge 2025 ]
[ "$(df --output=pcent /var | tail -n 1 | tr -dc 0-9)" -lt 90 ]
