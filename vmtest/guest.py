"""What runs inside the machine: a root shell behind a virtio port, handed in as credentials.

The firmware tables carry systemd credentials (SMBIOS type 11 strings); systemd 254 and newer makes
a unit of one and a drop-in of another, so the image needs no change. The shell speaks this:

    machine → test   "hello BOOT_ID\\n"                        once, when it is ready
    test → machine   "ID LIMIT COMMAND_SIZE INPUT_SIZE\\n"     then the command, then its input
    machine → test   "ID STATUS LATE OUTPUT_SIZE ERRORS_SIZE\\n"   then both outputs

Sizes are in bytes, LIMIT is in seconds, LATE is 1 when the limit ended the command. Output goes
through files, so a command that leaves a child behind ends when it ends itself.
"""

from __future__ import annotations

import base64

PORT = "vmtest"

# Under emulation a program's start costs tens of milliseconds: builtins do what they can.
SERVE = r"""
serve() {
    local id limit command_size input_size command status begin late input sizes
    local output=$RUNTIME_DIRECTORY/output errors=$RUNTIME_DIRECTORY/errors
    cd /
    printf 'hello %s\n' "$(</proc/sys/kernel/random/boot_id)" >&3
    while read -r id limit command_size input_size <&3; do
        LC_ALL=C read -r -N "$command_size" command <&3
        input=/dev/null
        if ((input_size > 0)); then
            input=$RUNTIME_DIRECTORY/input
            head -c "$input_size" <&3 >"$input"
        fi
        begin=$SECONDS late=0 sizes="0 0"
        timeout -k 5 "$limit" bash -e -o pipefail -c "$command" \
            <"$input" >"$output" 2>"$errors" 3>&-
        status=$?
        if ((SECONDS - begin >= limit && (status == 124 || status == 137))); then late=1; fi
        if [[ -s $output || -s $errors ]]; then sizes=$(stat -c %s "$output" "$errors"); fi
        echo "$id" "$status" "$late" $sizes >&3
        if [[ $sizes != "0 0" ]]; then cat "$output" "$errors" >&3; fi
        : >"$output" >"$errors"
        if ((input_size > 0)); then : >"$input"; fi
    done
}
"""

# The port is looked for in sysfs: its link in /dev comes late, or never where udev has no rule.
OPEN = rf"""
modprobe -q virtio_console
port=
until [[ -c $port ]]; do
    for name in /sys/class/virtio-ports/*/name; do
        if [[ -r $name && $(<"$name") == {PORT} ]]; then
            port=${{name%/name}}
            port=/dev/${{port##*/}}
        fi
    done
    [[ -c $port ]] || sleep 0.2
done
exec 3<>"$port"
serve
"""

UNIT = """\
[Unit]
Description=Shell of the machine's test
DefaultDependencies=no
After=sysinit.target
Conflicts=shutdown.target
Before=shutdown.target
ConditionPathExists=!/etc/initrd-release

[Service]
ExecStart=/bin/bash --noprofile --norc /run/credentials/@system/vmtest.shell
RuntimeDirectory=vmtest
RuntimeDirectoryMode=0700
Environment=HOME=/root TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
Restart=always
RestartSec=1
OOMScoreAdjust=-900
"""
"""The condition keeps the shell out of an initrd that is run by systemd itself."""

WANTED = """\
[Unit]
Wants=vmtest.service
"""


def shell_credentials() -> tuple[tuple[str, bytes], ...]:
    """The credentials that make a machine run the shell."""
    return (
        ("vmtest.shell", (SERVE + OPEN).encode()),
        ("systemd.extra-unit.vmtest.service", UNIT.encode()),
        ("systemd.unit-dropin.basic.target", WANTED.encode()),
    )


def format_credential(name: str, value: bytes) -> str:
    """A credential as the value of a SMBIOS type 11 string."""
    return f"io.systemd.credential.binary:{name}={base64.b64encode(value).decode()}"
