"""A package as vendors ship them, with what often does not fit an image-based system.

Its files are in ``/opt``, among them a helper that is setuid by ``dpkg-statoverride``. Its scripts
make a system user, write to ``/etc``, ``/var``, ``/usr/bin`` and the sources of apt, and enable and
start a service.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.archive import control_text

if TYPE_CHECKING:
    from pathlib import Path

    from tests.archive import Archive

NAME = "reef-vpn"
RECIPE = """schema = 1

[[repo]]
name = "reef"
uris = ["{address}"]
suites = ["stable"]
components = ["main"]
key = "./reef.asc"

[packages]
install = ["reef-vpn"]
"""
"""A machine file with it, from the archive at ``{address}``."""
UNIT = """[Unit]
Description=Reef VPN
[Service]
User=reefvpn
ExecStart=/opt/reef-vpn/bin/reefvpnd
[Install]
WantedBy=multi-user.target
"""
POSTINST = """#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
adduser --system --quiet --group --home /var/lib/reef-vpn --no-create-home reefvpn
mkdir -p /var/lib/reef-vpn /etc/reef-vpn
chown reefvpn:reefvpn /var/lib/reef-vpn
[ -e /etc/reef-vpn/settings ] || echo made > /etc/reef-vpn/settings
dpkg-statoverride --list /opt/reef-vpn/sbin/helper > /dev/null ||
    dpkg-statoverride --update --add root reefvpn 4750 /opt/reef-vpn/sbin/helper
ln -sf /opt/reef-vpn/bin/reefvpn /usr/bin/reefvpn
echo "deb [signed-by=/usr/share/keyrings/reef-vpn.asc] https://reef.example/ stable main" \\
    > /etc/apt/sources.list.d/reef-vpn.list
update-alternatives --quiet --install /usr/bin/vpn vpn /opt/reef-vpn/bin/reefvpn 10
systemctl daemon-reload || true
systemctl enable reef-vpn.service
systemctl start reef-vpn.service || true
"""
PRERM = """#!/bin/sh
set -e
systemctl stop reef-vpn.service || true
systemctl disable reef-vpn.service || true
update-alternatives --quiet --remove vpn /opt/reef-vpn/bin/reefvpn
"""


def add_vendor_package(archive: Archive, version: str) -> None:
    """Put a version of it into the suite ``stable``."""
    files = {
        "opt/reef-vpn/bin/reefvpn": f"#!/bin/sh\necho {version}\n",
        "opt/reef-vpn/bin/reefvpnd": "#!/bin/sh\nexec sleep infinity\n",
        "opt/reef-vpn/sbin/helper": "#!/bin/sh\nid -u\n",
        "usr/lib/systemd/system/reef-vpn.service": UNIT,
        "usr/share/keyrings/reef-vpn.asc": "a key\n",
        "DEBIAN/postinst": POSTINST,
        "DEBIAN/prerm": PRERM,
    }
    control = control_text(NAME, version, "amd64", {"Depends": "adduser"})
    path = f"pool/{NAME}_{version}_amd64.deb"
    _make_deb(archive.root / path, control, files)
    archive.suites.setdefault("stable", []).append((control, path))


def _make_deb(path: Path, control: str, files: dict[str, str]) -> None:
    tree = path.with_suffix(".tree")
    for name, text in {**files, "DEBIAN/control": control}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o755 if text.startswith("#!") else 0o644)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(path)]
    subprocess.run(words, check=True, capture_output=True)
