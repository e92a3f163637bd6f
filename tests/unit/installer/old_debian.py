"""An ordinary Debian as values, for tests of what is installed beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.installer.beside.carry import OldSettings
from atoll.installer.beside.old_system import OldMount, OldSystem
from atoll.machine.disk_layout import MIB
from atoll.machine.etc.etc_tree import Entry, Kind, Node, replaced, with_content
from tests.unit.installer.made_devices import debian_disk, make_devices

if TYPE_CHECKING:
    from atoll.installer.devices.block_devices import BlockDevices

SDA2 = Path("/dev/sda2")
TITLE = "Debian GNU/Linux 13 (trixie)"
MACHINE_ID = "0123456789abcdef0123456789abcdef"
ETC = {
    "passwd": (
        "root:x:0:0:root:/root:/bin/bash\n"
        "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
        "ada:x:1000:1000:Ada,,,:/home/ada:/bin/zsh\n"
        "bob:x:1001:100::/home/bob:/bin/bash\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "shadow": (
        "root:$y$root:1:0:99999:7:::\n"
        "daemon:*:1:0:99999:7:::\n"
        "ada:$y$ada:20000:0:99999:7:::\n"
        "bob:$y$bob:20000:0:99999:7:::\n"
    ),
    "group": (
        "root:x:0:\nsudo:x:27:ada\nusers:x:100:\nkvm:x:104:ada,bob\nlibvirt:x:106:ada\n"
        "ada:x:1000:\nwork:x:1500:ada,bob,daemon\n"
    ),
    "gshadow": "root:*::\nsudo:*::ada\nkvm:!::ada,bob\nlibvirt:!::ada\nada:!::\nwork:!::ada,bob\n",
    "subuid": "ada:100000:65536\nbob:165536:65536\n",
    "subgid": "ada:100000:65536\nbob:165536:65536\n",
    "hostname": "reef\n",
    "machine-id": f"{MACHINE_ID}\n",
    "default/locale": 'LANG="C.UTF-8"\n',
    "default/keyboard": 'XKBLAYOUT="de"\nXKBVARIANT="nodeadkeys"\n',
    "network/interfaces": (
        "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n"
        "allow-hotplug ens3\niface ens3 inet dhcp\n\n"
        "auto ens4\niface ens4 inet static\n    address 192.0.2.7\n    netmask 255.255.255.0\n"
        "    gateway 192.0.2.1\n    dns-nameservers 192.0.2.53\n"
    ),
    "ssh/ssh_host_ed25519_key": "the private key\n",
    "ssh/ssh_host_ed25519_key.pub": "the public key\n",
    "ssh/sshd_config": "PermitRootLogin yes\n",
    "sudoers.d/README": "# about\n",
}
IMAGE = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/bash\nsshd:x:102:65534::/run/sshd:/bin/false\n",
    "etc/shadow": b"root:*:1:0:99999:7:::\nsshd:!:1::::::\n",
    "etc/group": b"root:x:0:\nsudo:x:27:\nusers:x:100:\nkvm:x:991:\n",
    "etc/gshadow": b"root:*::\nsudo:*::\nusers:*::\nkvm:!::\n",
    "etc/hosts": b"127.0.0.1\tlocalhost\n",
    "etc/skel/.profile": b"umask 022\n",
    "etc/fstab": b"# nothing\n",
    "etc/systemd/system/multi-user.target.wants/systemd-networkd.service": b"",
    "usr/bin/bash": b"",
    "bin/bash": b"",
    "usr/sbin/sshd": b"",
    "usr/share/zoneinfo/Europe/Berlin": b"",
    "usr/share/X11/xkb/rules/base.lst": b"! layout\n  us  English\n  de  German\n\n! variant\n",
}


def etc_node(files: dict[str, str], links: dict[str, str] | None = None) -> Node:
    node = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))
    for path, text in files.items():
        mode = 0o600 if path.endswith("_key") else 0o644
        entry = with_content(Entry(kind=Kind.FILE, mode=mode), text.encode())
        node = replaced(node, path, Node(entry))
    for path, target in (links or {}).items():
        link = Entry(kind=Kind.SYMLINK, mode=0o777, content=target)
        node = replaced(node, path, Node(link))
    return node


def old_settings(**changes: str) -> OldSettings:
    """``changes`` are other contents, by path with two underscores for a slash."""
    files = ETC | {name.replace("__", "/"): text for name, text in changes.items()}
    etc = etc_node(files, {"localtime": "/usr/share/zoneinfo/Europe/Berlin"})
    return OldSettings(etc=etc, root_keys=b"ssh-ed25519 AAAA root@elsewhere\n")


def old_system(**changes: object) -> OldSystem:
    system = OldSystem(
        title=TITLE,
        family=("debian",),
        root=OldMount(device=SDA2, kind="ext4"),
        esp=Path("/dev/sda1"),
        path="",
        free=20_000 * MIB,
    )
    return replace(system, **changes)  # type: ignore[arg-type]


def debian_devices(*files: str, esp_free: int = 400) -> BlockDevices:
    """One disk with an ESP, the system, a /home and another partition; ``files`` are on the ESP."""
    devices = make_devices(debian_disk(), esp_free=esp_free)
    content = frozenset(files or ("efi/debian/shimx64.efi", "efi/debian/grubx64.efi"))
    return replace(devices, esps=(replace(devices.esps[0], files=content),))
