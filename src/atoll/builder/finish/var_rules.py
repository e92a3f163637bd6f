"""What happens to the files that packages leave in ``/var``: a rule for each path.

*Tree*: the content describes the packages in the tree, so it is updated and rolled back with it.
*State*: it starts as the packages left it, and belongs to the machine from then on. *Drop*: files
that are created again when needed, or that only record the build; their directories stay, because
programs expect them. The rule with the longest matching prefix decides. Empty directories need no
rule: they are state. docs/reference/var.md describes this for users.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.image.info import VarRules


class VarAction(StrEnum):
    TREE = "tree"
    STATE = "state"
    DROP = "drop"


MARKS = "/var/lib/apt/marks"
"""Where apt's configuration in the tree puts apt's list of auto-installed packages."""

_TREE = (
    "/var/cache/debconf",
    "/var/cache/dictionaries-common",
    "/var/lib/apache2",
    MARKS,
    "/var/lib/aspell",
    "/var/lib/binfmts",
    "/var/lib/ca-certificates-java",
    "/var/lib/dictionaries-common",
    "/var/lib/dkms",
    "/var/lib/doc-base",
    "/var/lib/dpkg",
    "/var/lib/emacsen-common",
    "/var/lib/gems",
    "/var/lib/ghostscript",
    "/var/lib/ieee-data",
    "/var/lib/initramfs-tools",
    "/var/lib/insserv",
    "/var/lib/ispell",
    "/var/lib/mecab",
    "/var/lib/mime-support",
    "/var/lib/pam",
    "/var/lib/php/modules",
    "/var/lib/python",
    "/var/lib/python3",
    "/var/lib/sgml-base",
    "/var/lib/smartmontools/drivedb",
    "/var/lib/systemd/catalog",
    "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked",
    "/var/lib/systemd/deb-systemd-user-helper-enabled",
    "/var/lib/systemd/deb-systemd-user-helper-masked",
    "/var/lib/tex-common",
    "/var/lib/texmf",
    "/var/lib/ucf",
    "/var/lib/usbutils",
    "/var/lib/usrmerge",
    "/var/lib/vim",
    "/var/lib/xfonts",
    "/var/lib/xml-core",
)

_STATE = (
    "/var/games",
    "/var/lib/AccountsService",
    "/var/lib/ModemManager",
    "/var/lib/NetworkManager",
    "/var/lib/PackageKit",
    "/var/lib/alsa",
    "/var/lib/apparmor",
    "/var/lib/avahi-autoipd",
    "/var/lib/bluetooth",
    "/var/lib/boltd",
    "/var/lib/chrony",
    "/var/lib/color",
    "/var/lib/colord",
    "/var/lib/containers",
    "/var/lib/cups",
    "/var/lib/dbus",
    "/var/lib/dhcp",
    "/var/lib/docker",
    "/var/lib/dracut",
    "/var/lib/exim4",
    "/var/lib/fail2ban",
    "/var/lib/flatpak",
    "/var/lib/fprint",
    "/var/lib/fwupd",
    "/var/lib/gamemode",
    "/var/lib/games",
    "/var/lib/gdm",
    "/var/lib/gdm3",
    "/var/lib/geoclue",
    "/var/lib/git",
    "/var/lib/gnome-initial-setup",
    "/var/lib/gnome-remote-desktop",
    "/var/lib/greetd",
    "/var/lib/hp",
    "/var/lib/incus",
    "/var/lib/iwd",
    "/var/lib/libreoffice",
    "/var/lib/libvirt",
    "/var/lib/lightdm",
    "/var/lib/lightdm-data",
    "/var/lib/logrotate",
    "/var/lib/lxc",
    "/var/lib/lxd",
    "/var/lib/machines",
    "/var/lib/man-db",
    "/var/lib/misc",
    "/var/lib/mysql",
    "/var/lib/nfs",
    "/var/lib/nginx",
    "/var/lib/ntpsec",
    "/var/lib/openvpn",
    "/var/lib/os-prober",
    "/var/lib/pcscd",
    "/var/lib/php/sessions",
    "/var/lib/plymouth",
    "/var/lib/polkit-1",
    "/var/lib/postfix",
    "/var/lib/postgresql",
    "/var/lib/power-profiles-daemon",
    "/var/lib/private",
    "/var/lib/prometheus",
    "/var/lib/redis",
    "/var/lib/rtkit",
    "/var/lib/samba",
    "/var/lib/saned",
    "/var/lib/sddm",
    "/var/lib/shells.state",
    "/var/lib/smartmontools",
    "/var/lib/snapd",
    "/var/lib/snmp",
    "/var/lib/sss",
    "/var/lib/sudo",
    "/var/lib/swtpm-localca",
    "/var/lib/systemd",
    "/var/lib/tor",
    "/var/lib/tpm2-tss",
    "/var/lib/tuned",
    "/var/lib/udisks2",
    "/var/lib/unattended-upgrades",
    "/var/lib/unbound",
    "/var/lib/update-manager",
    "/var/lib/update-notifier",
    "/var/lib/upower",
    "/var/lib/urandom",
    "/var/lib/usb_modeswitch",
    "/var/lib/waydroid",
    "/var/lib/wireplumber",
    "/var/lib/wpa",
    "/var/lib/wtmpdb",
    "/var/lib/xdm",
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
    "/var/lib/app-info",
    "/var/lib/apt",
    "/var/lib/apt-xapian-index",
    "/var/lib/aptitude",
    "/var/lib/command-not-found",
    "/var/lib/dbus/machine-id",
    "/var/lib/mlocate",
    "/var/lib/plocate",
    "/var/lib/shim-signed",
    "/var/lib/swcatalog",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/linger",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/timers",
    "/var/lib/wtmpdb/wtmp.db",
    "/var/local",
    "/var/log",
    "/var/tmp",
)

RULES: dict[str, VarAction] = (
    dict.fromkeys(_TREE, VarAction.TREE)
    | dict.fromkeys(_STATE, VarAction.STATE)
    | dict.fromkeys(_DROP, VarAction.DROP)
)


def merge_rules(var: VarRules) -> dict[str, VarAction]:
    """Atoll's rules and those of a recipe, which win for the same path.

    Raises RecipeError for a rule that cannot be followed: inside a tree-owned directory, everything
    belongs to the tree or is dropped.
    """
    added = [
        (path, action)
        for action, paths in (
            (VarAction.TREE, var.tree),
            (VarAction.STATE, var.state),
            (VarAction.DROP, var.drop),
        )
        for path in paths
    ]
    rules = RULES | dict(added)
    for path, action in added:
        parents = (path[:at] for at in range(len(path)) if path[at] == "/")
        owner = next((each for each in parents if rules.get(each) is VarAction.TREE), None)
        if owner and action is not VarAction.DROP:
            raise RecipeError(
                f"{path} is inside {owner}, which belongs to the tree",
                key=f"var.{action}",
                hint="leave it out, or name the outer one as state",
            )
    for path in sorted(var.tree):
        inner = [
            each
            for each in rules
            if each.startswith(f"{path}/") and rules[each] is not VarAction.DROP
        ]
        if inner:
            raise RecipeError(
                f"{path} cannot belong to the tree: {inner[0]} in it is {rules[inner[0]]}",
                key="var.tree",
                hint="name other directories in it instead",
            )
    return rules


def match_var_rule(path: str, rules: Mapping[str, VarAction] = RULES) -> VarAction | None:
    """The action of the longest rule that matches an absolute path below ``/var``; None if none."""
    prefix = path
    while prefix.startswith("/var/"):
        if prefix in rules:
            return rules[prefix]
        prefix = prefix.rpartition("/")[0]
    return None


def is_tree_owned_root(path: str, rules: Mapping[str, VarAction] = RULES) -> bool:
    """Whether ``path`` itself is a tree-owned directory."""
    return rules.get(path) is VarAction.TREE
