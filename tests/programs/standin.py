"""Tiny packages for build tests: one that can stand for Atoll's own, one full of traps."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The zeros: a machine reads its initrd as an object, and small files are kept in a tree's image. No
# words of it may name a program: files with these names decide whether an initrd is made again.
MAKE_INITRD = """#!/bin/sh
set -eu
test -d /usr/lib/modules/"$1"
test -c /dev/null
test -d /proc/self
{
    echo "initrd of $1 at $SOURCE_DATE_EPOCH"
    head --bytes=8192 /dev/zero
} > "$2"
"""

TRAP_POSTINST = """#!/bin/sh
set -eu
# a link of a unit that is not there any more
mkdir -p /etc/systemd/system/multi-user.target.requires
ln -s /usr/lib/systemd/system/retired.service \
    /etc/systemd/system/multi-user.target.requires/retired.service
deb-systemd-helper enable trap.service
chmod 4755 /opt/trap/bin/raise
setcap cap_net_raw+ep /opt/trap/bin/ping 2> /dev/null || true
# a service that nobody asked for, and a trace of this very moment
invoke-rc.d trap start || true
sleep 1000 &
date +%s%N > /var/log/trap.log
date +%s%N > /var/lib/systemd/random-seed
date +%s%N > /etc/trap.conf.dpkg-old
adduser --system --quiet trapuser
mkdir -p /var/lib/private/empty-place
"""

TRAP_UNIT = """[Unit]
Description=Trap
[Service]
ExecStart=/bin/true
[Install]
WantedBy=multi-user.target
Alias=trapped.service
"""


def write_atoll(directory: Path) -> Path:
    """A package with what the build needs of Atoll's own; because of its name, those stay away."""
    made = write_deb(directory, "atoll-system", {"usr/lib/atoll/make-initrd": MAKE_INITRD})
    return made.rename(directory / "atoll.deb")


def write_packages(directory: Path) -> Path:
    """Both packages of Atoll's, as files beside each other; the file of the tool."""
    write_deb(directory, "atoll-system", {"usr/lib/atoll/make-initrd": MAKE_INITRD})
    return write_deb(directory, "atoll", {"usr/bin/atoll": "#!/bin/sh\n"})


def write_trap(directory: Path) -> Path:
    files = {
        "usr/lib/systemd/system/trap.service": TRAP_UNIT,
        "opt/trap/bin/raise": "#!/bin/sh\n",
        "opt/trap/bin/ping": "#!/bin/sh\n",
        "var/lib/misc/trap-state": "starts so\n",
    }
    return write_deb(directory, "trap", files, postinst=TRAP_POSTINST, depends="adduser")


def write_deb(
    directory: Path,
    name: str,
    files: Mapping[str, str],
    *,
    postinst: str = "",
    depends: str = "",
    more: str = "",
) -> Path:
    """The package ``name`` as a file in ``directory``; scripts among ``files`` can be executed.
    ``more`` are further lines of its control file."""
    content = directory / f"{name}-content"
    control = content / "DEBIAN"
    control.mkdir(parents=True)
    lines = [f"Package: {name}", "Version: 1", "Architecture: all"]
    lines += ["Maintainer: Tests <tests@example.org>", "Description: for tests"]
    lines += [f"Depends: {depends}"] if depends else []
    lines += more.splitlines()
    (control / "control").write_text("".join(f"{line}\n" for line in lines))
    if postinst:
        (control / "postinst").write_text(postinst)
        (control / "postinst").chmod(0o755)
    for path, text in files.items():
        file = content / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    deb = directory / f"{name}.deb"
    words: list[str | Path] = ["dpkg-deb", "--root-owner-group", "--build", content, deb]
    subprocess.run(words, check=True, capture_output=True)
    return deb
