"""What the recipe says beside packages: files, system settings, accounts and units.

All of it happens inside the root, by the root's own programs, so that no link in it leads outside.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from atoll.base.errors import ProgramFailed, RecipeError
from atoll.debian.install import room
from atoll.host.files import temporary_directory
from atoll.host.sandbox import Bind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from atoll.recipe.model import File, Recipe, System, Units, User

ALWAYS_MASKED = (
    "apt-daily.service",
    "apt-daily.timer",
    "apt-daily-upgrade.service",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
    "dpkg-db-backup.timer",
    # these rebuild what the tree brings along, and would leave it behind in the machine's /etc
    "ldconfig.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
)
"""Units that change packages, or what belongs to the tree, on a running machine."""


def configure(root: Path, recipe: Recipe, workspace: Path) -> None:
    """Everything that the recipe says of ``root`` once the packages are in."""
    write_files(root, recipe, workspace)
    set_system(root, recipe.system)
    for user in recipe.users:
        set_user(root, user)
    set_units(root, recipe.units)


def write_files(root: Path, recipe: Recipe, workspace: Path) -> None:
    if not recipe.files:
        return
    with temporary_directory(workspace, prefix="files-") as staged:
        for number, file in enumerate(recipe.files):
            staged.joinpath(str(number)).write_bytes(read_content(recipe, file))
        words = "\n".join(_install_line(number, file) for number, file in enumerate(recipe.files))
        sandbox = room(root, Bind(source=staged, target="/run/atoll/files"))
        _say(sandbox.run, ["sh", "-euc", words], key="file", what="a file cannot be put in place")


def read_content(recipe: Recipe, file: File) -> bytes:
    """What ``file`` shall hold; raises RecipeError when its source is not there."""
    if file.text is not None:
        return file.text.encode()
    try:
        return recipe.resolve(file.source or "").read_bytes()
    except OSError as error:
        raise RecipeError(f"{file.source} cannot be read: {error.strerror}",
                          file=recipe.file, key="file.source") from error  # fmt: skip


def set_system(root: Path, system: System) -> None:
    """Host name, time zone and locale."""
    etc = root / "etc"
    if system.hostname is None:
        (etc / "hostname").unlink(missing_ok=True)
    else:
        (etc / "hostname").write_text(f"{system.hostname}\n")
        (etc / "hostname").chmod(0o644)
        hosts = etc / "hosts"
        old = hosts.read_text() if hosts.exists() else "127.0.0.1\tlocalhost\n"
        hosts.write_text(f"{old.rstrip()}\n127.0.1.1\t{system.hostname}\n")
    if system.timezone is not None:
        _set_timezone(root, system.timezone)
    if system.locale is not None:
        _set_locale(root, system.locale)


def _set_timezone(root: Path, name: str) -> None:
    if not (root / "usr/share/zoneinfo" / name).is_file():
        raise RecipeError(
            f"the root knows no time zone {name}",
            key="system.timezone",
            hint="names are as in Europe/Berlin; the package tzdata has them",
        )
    link = root / "etc/localtime"
    link.unlink(missing_ok=True)
    link.symlink_to(f"/usr/share/zoneinfo/{name}")
    if (root / "etc/timezone").exists():
        (root / "etc/timezone").write_text(f"{name}\n")


def _set_locale(root: Path, name: str) -> None:
    if name not in ("C", "C.UTF-8", "POSIX"):
        supported = root / "usr/share/i18n/SUPPORTED"
        lines = supported.read_text().splitlines() if supported.exists() else []
        wanted = [line for line in lines if line.split()[:1] == [name]]
        if not wanted:
            why = "knows no locale" if lines else "can make no locale"
            raise RecipeError(
                f"the root {why} {name}",
                key="system.locale",
                hint="install the package locales; names are as in de_DE.UTF-8",
            )
        (root / "etc/locale.gen").write_text(f"{wanted[0]}\n")
        _say(room(root).run, ["locale-gen"], key="system.locale", what="locale-gen failed")
    (root / "etc/locale.conf").write_text(f"LANG={name}\n")
    old = root / "etc/default/locale"
    old.unlink(missing_ok=True)
    old.symlink_to("../locale.conf")


def set_user(root: Path, user: User) -> None:
    """Make the account, or change it when it is there; then its password and its keys."""
    sandbox = room(root)
    exists = user.name == "root" or _has_user(root, user.name)
    words = ["usermod" if exists else "useradd", "--shell", user.shell]
    if not exists:
        words += ["--create-home", "--home-dir", user.home, "--user-group"]
    if user.gecos:
        words += ["--comment", user.gecos]
    if user.uid is not None and user.name != "root":
        words += ["--uid", str(user.uid)]
    if user.groups:
        words += ["--groups", ",".join(user.groups), *(["--append"] if exists else [])]
    what = f"the account {user.name} cannot be made"
    _say(sandbox.run, [*words, "--", user.name], key="user", what=what)
    if user.password_hash is not None:
        line = f"{user.name}:{user.password_hash}\n".encode()
        sandbox.run(["chpasswd", "--encrypted"], stdin=line)
    if user.ssh_keys:
        home = "/root" if user.name == "root" else user.home
        text = "".join(f"{key}\n" for key in user.ssh_keys)
        sandbox.run(["sh", "-euc", _WRITE_KEYS, "keys", home, user.name], stdin=text.encode())


_WRITE_KEYS = """
group=$(id -g -- "$2")
install -d -m 0700 -o "$2" -g "$group" -- "$1/.ssh"
cat > "$1/.ssh/authorized_keys"
chmod 0600 "$1/.ssh/authorized_keys"
chown -- "$2:$group" "$1/.ssh/authorized_keys"
"""


def set_units(root: Path, units: Units) -> None:
    """Enable, disable and mask by the links that systemctl makes."""
    if not (root / "usr/bin/systemctl").exists():
        raise RecipeError("the root has no systemd", key="packages.install",
                          hint="add the package systemd-sysv")  # fmt: skip
    present = [name for name in ALWAYS_MASKED
               if (root / "usr/lib/systemd/system" / name).exists()]  # fmt: skip
    for verb, names in (
        ("disable", (*units.disable, *units.mask, *present)),
        ("enable", units.enable),
        ("mask", (*units.mask, *present)),
    ):
        _systemctl(root, verb, names)


def _systemctl(root: Path, verb: str, names: Iterable[str]) -> None:
    for name in names:
        _say(room(root).run, ["systemctl", "--no-reload", verb, "--", name],
             key=f"units.{verb}", what=f"systemctl cannot {verb} {name}")  # fmt: skip


def _say(run: object, argv: list[str], *, key: str, what: str) -> None:
    assert callable(run)
    try:
        run(argv)
    except ProgramFailed as error:
        last = error.stderr_tail.strip().splitlines()
        raise RecipeError(f"{what}: {last[-1] if last else error.message}", key=key) from error


def _has_user(root: Path, name: str) -> bool:
    lines = (root / "etc/passwd").read_text(errors="replace").splitlines()
    return any(line.split(":")[0] == name for line in lines)


def _install_line(number: int, file: File) -> str:
    words = ["install", "-D", "-m", f"{file.mode:04o}", "-o", file.owner, "-g", file.group,
             "--no-target-directory", "--", f"/run/atoll/files/{number}", file.path]  # fmt: skip
    return shlex.join(words)
