"""What becomes of everything that packages leave in ``/var``: one rule for every place.

*Tree* places describe the packages that a tree holds, so they travel and roll back with it.
*State* starts as the packages leave it and belongs to the machine from then on. What is *dropped*
is made again when it is needed, or only says what happened during the build; directories stay, so
that programs find them. The longest rule that is a prefix of a path decides; empty directories need
no rule, they are state. docs/reference/var.md says the same in prose.
"""

from __future__ import annotations

from enum import StrEnum


class Fate(StrEnum):
    TREE = "tree"
    STATE = "state"
    DROP = "drop"


MARKS = "/var/lib/apt/marks"
"""Where apt keeps which packages were asked for; apt's configuration in the tree names it."""

_TREE = (
    "/var/cache/debconf",
    "/var/cache/dictionaries-common",
    MARKS,
    "/var/lib/aspell",
    "/var/lib/ca-certificates-java",
    "/var/lib/dictionaries-common",
    "/var/lib/dkms",
    "/var/lib/doc-base",
    "/var/lib/dpkg",
    "/var/lib/emacsen-common",
    "/var/lib/ghostscript",
    "/var/lib/ieee-data",
    "/var/lib/initramfs-tools",
    "/var/lib/ispell",
    "/var/lib/mime-support",
    "/var/lib/pam",
    "/var/lib/python",
    "/var/lib/python3",
    "/var/lib/sgml-base",
    "/var/lib/systemd/catalog",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
    "/var/lib/tex-common",
    "/var/lib/texmf",
    "/var/lib/ucf",
    "/var/lib/usrmerge",
    "/var/lib/vim",
    "/var/lib/xfonts",
    "/var/lib/xml-core",
)

_STATE = (
    "/var/games",
    "/var/lib/AccountsService",
    "/var/lib/NetworkManager",
    "/var/lib/alsa",
    "/var/lib/bluetooth",
    "/var/lib/boltd",
    "/var/lib/chrony",
    "/var/lib/colord",
    "/var/lib/containers",
    "/var/lib/cups",
    "/var/lib/dhcp",
    "/var/lib/dracut",
    "/var/lib/flatpak",
    "/var/lib/fwupd",
    "/var/lib/games",
    "/var/lib/gdm3",
    "/var/lib/geoclue",
    "/var/lib/git",
    "/var/lib/libreoffice",
    "/var/lib/libvirt",
    "/var/lib/lightdm",
    "/var/lib/lightdm-data",
    "/var/lib/logrotate",
    "/var/lib/man-db",
    "/var/lib/misc",
    "/var/lib/nfs",
    "/var/lib/openvpn",
    "/var/lib/os-prober",
    "/var/lib/plymouth",
    "/var/lib/polkit-1",
    "/var/lib/private",
    "/var/lib/samba",
    "/var/lib/saned",
    "/var/lib/sddm",
    "/var/lib/shells.state",
    "/var/lib/snmp",
    "/var/lib/sudo",
    "/var/lib/systemd",
    "/var/lib/tpm2-tss",
    "/var/lib/udisks2",
    "/var/lib/upower",
    "/var/lib/usb_modeswitch",
    "/var/lib/wtmpdb",
    "/var/lib/xkb",
    "/var/lock",
    "/var/mail",
    "/var/opt",
    "/var/run",
    "/var/spool",
    "/var/www",
)

_DROP = (
    "/var/backups",
    "/var/cache",
    "/var/crash",
    "/var/lib/apt",
    "/var/lib/dbus/machine-id",
    "/var/lib/command-not-found",
    "/var/lib/plocate",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/linger",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/timers",
    "/var/lib/wtmpdb/wtmp.db",
    "/var/local",
    "/var/log",
    "/var/tmp",
)

RULES: dict[str, Fate] = (
    dict.fromkeys(_TREE, Fate.TREE)
    | dict.fromkeys(_STATE, Fate.STATE)
    | dict.fromkeys(_DROP, Fate.DROP)
)


def find_fate(path: str) -> Fate | None:
    """What the longest matching rule says of an absolute path below ``/var``, None without one."""
    place = path
    while place.startswith("/var/"):
        if place in RULES:
            return RULES[place]
        place = place.rpartition("/")[0]
    return None


def is_tree_owned_root(path: str) -> bool:
    """Whether ``path`` itself is a directory whose content is the tree's."""
    return RULES.get(path) is Fate.TREE
