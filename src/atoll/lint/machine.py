"""Lints of machines: network, login, names of groups and locales, and what Atoll ignores so far."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.steps.system import find_layout
from atoll.builder.steps.unit_links import full_name
from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.packages import INSTALL
from atoll.recipe.model import DebianBase, EmptyBase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintSubject

_NETWORKD = "systemd-networkd.service"
_NETWORK = (
    "network-manager",
    "ifupdown",
    "ifupdown-ng",
    "ifupdown2",
    "netplan.io",
    "connman",
    "dhcpcd",
    "wicd",
    "cloud-init",
    "iwd",
)
"""Packages that configure the network."""
_NETWORK_FILES = ("/etc/systemd/network/", "/usr/lib/systemd/network/", "/etc/network/")
_LOGIN = (
    "login",
    "openssh-server",
    "dropbear",
    "dropbear-bin",
    "gdm3",
    "sddm",
    "lightdm",
    "greetd",
    "lxdm",
    "slim",
    "xdm",
    "ly",
    "cockpit",
    "tinysshd",
)
_GROUP_PACKAGES = {
    "docker": ("docker.io", "docker-ce", "docker-engine"),
    "libvirt": ("libvirt-daemon-system", "libvirt-daemon-driver-qemu", "libvirt-daemon"),
    "lxd": ("lxd",),
    "incus": ("incus",),
    "incus-admin": ("incus",),
    "vboxusers": ("virtualbox",),
    "wireshark": ("wireshark-common",),
    "lpadmin": ("cups", "cups-daemon"),
    "scanner": ("sane-utils", "libsane-common"),
    "bluetooth": ("bluez",),
    "ssl-cert": ("ssl-cert",),
    "postgres": ("postgresql-common",),
    "mysql": ("mariadb-server", "mysql-server", "default-mysql-server"),
    "gamemode": ("gamemode",),
    "wheel": (),
}
"""Well-known groups, and the packages that create them; none creates wheel in Debian."""


def check_ignored(subject: LintSubject) -> Iterator[Finding]:
    recipe = subject.recipe
    if recipe.flatpak.install or recipe.flatpak.remotes:
        first = (*recipe.flatpak.install, *(name for name, _ in recipe.flatpak.remotes))[0]
        yield _ignored("flatpak", first, "installs no Flatpak", "run flatpak")
    for box in recipe.boxes:
        yield _ignored("box.name", box.name, "creates no box", "run distrobox or podman")


def _ignored(key: str, value: str, what: str, instead: str) -> Finding:
    return Finding(
        message=f"this version of Atoll stores it in the image but {what}",
        hint=f"{instead} on the machine",
        key=key,
        value=value,
    )


def check_unattended(subject: LintSubject) -> Iterator[Finding]:
    for name in ("unattended-upgrades", "apt-listchanges", "needrestart"):
        if any(each.partition("=")[0] == name for each in subject.recipe.packages.install):
            yield Finding(
                message=f"{name} does nothing on a machine: packages change only with the image,"
                " and its units are masked",
                hint="do not install it; machines get new packages with: atoll upgrade",
                key=INSTALL,
                value=name,
            )


def check_network(subject: LintSubject) -> Iterator[Finding]:
    recipe = subject.recipe
    enabled = {full_name(name) for name in recipe.units.enable}
    files = any(file.path.startswith(_NETWORK_FILES) for file in recipe.files)
    own = recipe.scripts or any(
        file.path.startswith("/etc/systemd/system/") for file in recipe.files
    )
    if not isinstance(recipe.base, DebianBase | EmptyBase) or own:
        return
    if not subject.facts.plans(*_NETWORK) and not (_NETWORKD in enabled and files):
        missing = (
            "no .network file for systemd-networkd"
            if _NETWORKD in enabled
            else "no network manager"
        )
        yield Finding(
            message=f"nothing sets up the network: there is {missing}",
            hint="add network-manager; or enable systemd-networkd.service and write"
            " /etc/systemd/network/80-wired.network with a [[file]]",
            key=INSTALL,
        )


def check_login_program(subject: LintSubject) -> Iterator[Finding]:
    standalone = isinstance(subject.recipe.base, DebianBase | EmptyBase)
    if standalone and not subject.facts.plans(*_LOGIN):
        yield Finding(
            message="nobody can log in: there is no login, no SSH server and no login screen",
            hint='add "login" to [packages] install, for the console',
            key=INSTALL,
        )


def check_known_groups(subject: LintSubject) -> Iterator[Finding]:
    """Only while accounts are unknown, before a build; ``group-unknown`` is exact."""
    created = {group.name for group in subject.recipe.groups}
    if subject.facts.accounts is not None:
        return
    for user in subject.recipe.users:
        for name in user.groups:
            packages = _GROUP_PACKAGES.get(name)
            if packages is None or name in created or subject.facts.plans(*packages):
                continue
            hint = (
                f'add the package "{packages[0]}"' if packages else "in Debian it is the group sudo"
            )
            yield Finding(
                message=f"{user.name} is in the group {name}, which no package here creates",
                hint=f'{hint}, or a table: [[group]] name = "{name}"',
                key="user.groups",
                value=name,
            )


def check_zone_name(subject: LintSubject) -> Iterator[Finding]:
    from atoll.base.fields import find_near

    zone, contents = subject.recipe.system.timezone, subject.facts.contents
    if zone is None:
        return
    known = _known_zones()
    if not known or zone in known:
        return
    if contents is not None and f"/usr/share/zoneinfo/{zone}" in contents.owners:
        return
    cities = sorted(name for name in known if name.rpartition("/")[2] == zone)
    near = f"did you mean: {cities[0]}" if cities else find_near(zone, known)
    yield Finding(
        message=f"there is no time zone {zone}",
        hint=near or "names are as in Europe/Berlin",
        key="system.timezone",
        value=zone,
    )


@cache
def _known_zones() -> frozenset[str]:
    """The time zones of this computer; to list them reads some 600 files."""
    import zoneinfo

    return frozenset(zoneinfo.available_timezones())


def check_locale_names(subject: LintSubject) -> Iterator[Finding]:
    from atoll.base.fields import find_near
    from atoll.lint.known_names import read_locales

    system = subject.recipe.system
    wanted = [("system.locale", system.locale)] if system.locale else []
    wanted += [("system.locales", name) for name in system.locales]
    if not wanted or not _has_known_names(subject):
        return
    known = {*read_locales(), "C", "POSIX"}
    for key, name in wanted:
        if name not in known:
            yield Finding(
                message=f"Debian has no locale {name}",
                hint=find_near(name, known) or "names are as in de_DE.UTF-8",
                key=key,
                value=name,
            )


def check_keyboard(subject: LintSubject) -> Iterator[Finding]:
    from atoll.lint.known_names import read_layouts

    keymap = subject.recipe.system.keymap
    if keymap is None or not _has_known_names(subject):
        return
    try:
        find_layout(keymap, read_layouts(), where="Debian")
    except RecipeError as error:
        yield Finding(
            message=error.message.partition(": ")[2],
            hint=error.hint,
            key="system.keymap",
            value=keymap,
        )


def _has_known_names(subject: LintSubject) -> bool:
    from atoll.lint.known_names import SUITES

    return subject.recipe.debian.suite in SUITES


LINTS = (
    Lint(
        name="not-obeyed",
        severity=Severity.WARNING,
        summary="machines do not act on this part of the recipe",
        why="Atoll checks [flatpak] and [[box]] and stores them in the image. This version of "
        "Atoll does not act on them on machines.",
        check=check_ignored,
    ),
    Lint(
        name="package-pointless",
        severity=Severity.WARNING,
        summary="a package is installed that changes packages on a machine",
        why="Packages change only with the image. Units that would "
        "change them in place are masked.",
        check=check_unattended,
    ),
    Lint(
        name="network-missing",
        severity=Severity.WARNING,
        summary="nothing sets up the network",
        why="A minimal Debian has no network manager. A machine without a network cannot be "
        "reached, nor upgraded from a registry. Recipes with scripts or units of their own are "
        "not checked.",
        check=check_network,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="login-missing",
        severity=Severity.WARNING,
        summary="no login program is installed",
        why="The console needs the package login, which a minimal Debian does not include.",
        check=check_login_program,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="group-of-no-package",
        severity=Severity.FATAL,
        summary="a user is in a well-known group whose package is not installed",
        why="The account cannot be created, so the build fails. Other groups are known once the "
        "recipe has been built.",
        check=check_known_groups,
        needs=(FactKind.PLAN,),
    ),
    Lint(
        name="time-zone-unknown",
        severity=Severity.FATAL,
        summary="the time zone does not exist",
        why="The build would fail. Names are those of the time zone database.",
        check=check_zone_name,
    ),
    Lint(
        name="locale-unknown",
        severity=Severity.FATAL,
        summary="the locale does not exist",
        why="The build would fail. Names are those of the package locales in Debian 12 and "
        "13; recipes for other suites are not checked.",
        check=check_locale_names,
    ),
    Lint(
        name="keyboard-unknown",
        severity=Severity.FATAL,
        summary="the keyboard layout or its variant does not exist",
        why="The build would fail. Names are those of the package xkb-data in Debian 12 and "
        "13; recipes for other suites are not checked.",
        check=check_keyboard,
    ),
)
