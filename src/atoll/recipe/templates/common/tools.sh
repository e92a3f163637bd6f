#!/bin/sh
# tools.sh: install what ci.sh needs on Debian 13 (or 12), Atoll itself included. Needs root.
# It changes nothing about how this computer boots: atoll-system.deb is for the system alone.
set -eu
cd "$(dirname "$0")"
deb=
[ ! -e atoll.deb ] || deb=./atoll.deb
export DEBIAN_FRONTEND=noninteractive
apt-get update
# shellcheck disable=SC2086 # empty, or one word
apt-get install --yes --no-install-recommends $deb mmdebstrap dosfstools mtools e2fsprogs fdisk \
    qemu-system-x86 ovmf systemd-boot-efi uidmap zstd python3-httpx ca-certificates
command -v atoll >/dev/null || {
    echo "tools.sh: atoll is not installed: put its package here as atoll.deb" >&2
    exit 4
}
