"""A recipe without findings, with all facts; tests change one thing in it."""

from __future__ import annotations

from dataclasses import replace

from atoll.debian.apt_query import AvailablePackage
from atoll.debian.dpkg_database import Package
from atoll.debian.pin import Pin
from atoll.lint.model import (
    ArchiveFacts,
    KnownAccounts,
    LintFacts,
    LintSubject,
    LocalFile,
    ShippedPaths,
)
from atoll.lock.model import Lock
from atoll.recipe.model import (
    Debian,
    DebianBase,
    File,
    Image,
    Kernel,
    LocalReference,
    Packages,
    Recipe,
    System,
    Units,
    User,
)

LOCK_ASKED = ("install zsh",)
TEXT = """\
schema = 1
from = "debian:trixie"

[image]
name = "reef"
version = "1"

[packages]
install = ["linux-image-cloud-amd64", "systemd-sysv", "atoll-system", "zsh"]
"""
INSTALL = ("linux-image-cloud-amd64", "systemd-sysv", "atoll-system", "zsh")
ADA = User(
    name="ada",
    home="/home/ada",
    uid=1000,
    shell="/usr/bin/zsh",
    groups=("sudo", "netdev"),
    password_hash="$6$x$y",
)
MOTD = File(path="/etc/motd", text="hello\n")
RECIPE = Recipe(
    file="reef/atoll.toml",
    text=TEXT,
    base=DebianBase(suite="trixie"),
    image=Image(name="reef", version="1"),
    debian=Debian(suite="trixie"),
    packages=Packages(install=INSTALL),
    kernel=Kernel(args=("quiet", "console=tty0", "console=ttyS0")),
    system=System(locale="C.UTF-8"),
    users=(ADA,),
    files=(MOTD,),
    units=Units(enable=("ssh.service",), mask=("getty@tty1.service",)),
)
PLAN = tuple(
    Package(name=name, version="1", architecture="amd64")
    for name in (
        *INSTALL,
        "linux-image-6.12.1-cloud-amd64",
        "openssh-server",
        "passwd",
        "login",
        "network-manager",
    )
)
LISTS = ArchiveFacts(
    offers=tuple(
        AvailablePackage(
            name=name, version="1", suite="trixie", component="main", architecture="amd64"
        )
        for name in INSTALL
    ),
    suites=frozenset({"trixie", "stable"}),
)
CONTENTS = ShippedPaths(
    owners={
        "/usr/bin/zsh": "zsh",
        "/usr/lib/systemd/system/ssh.service": "openssh-server",
        "/usr/lib/systemd/system/getty@.service": "systemd",
        "/usr/lib/systemd/user/podman.socket": "podman",
        "/etc/init.d/old": "old",
        "/var/lib/sudo/lectured": "sudo",
        "/usr/local/share": "base-files",
    },
    whole=True,
)
ACCOUNTS = KnownAccounts(users={"_ssh": 101}, groups={"netdev": 102})
FACTS = LintFacts(
    lists=LISTS,
    plan=PLAN,
    contents=CONTENTS,
    accounts=ACCOUNTS,
    requirements=LOCK_ASKED,
)
LOCK = Lock(
    architecture="amd64",
    epoch=0,
    wishes="w",
    asked=LOCK_ASKED,
    packages=tuple(
        Pin(
            name=package.name,
            architecture="amd64",
            version="1",
            size=1,
            sha256="0" * 64,
            archive="trixie",
            path="x",
        )
        for package in PLAN
    ),
    inputs=(("a.txt", "1" * 64),),
    users=(("_ssh", 101),),
    groups=(("netdev", 102),),
)
GOOD = LintSubject(recipe=RECIPE, lock=LOCK, facts=FACTS)


def with_recipe(**changes: object) -> LintSubject:
    return replace(GOOD, recipe=replace(RECIPE, **changes))  # type: ignore[arg-type]


def with_facts(**changes: object) -> LintSubject:
    return replace(GOOD, facts=replace(FACTS, **changes))  # type: ignore[arg-type]


def with_user(**changes: object) -> LintSubject:
    return with_recipe(users=(replace(ADA, **changes),))  # type: ignore[arg-type]


def with_file(**changes: object) -> LintSubject:
    return with_recipe(files=(replace(MOTD, **changes),))  # type: ignore[arg-type]


def with_install(*words: str) -> LintSubject:
    return with_recipe(packages=Packages(install=(*INSTALL, *words)))


def with_plan(*names: str, without: str = "-") -> LintSubject:
    kept = tuple(package for package in PLAN if package.name != without)
    more = tuple(Package(name=name, version="1", architecture="amd64") for name in names)
    return with_facts(plan=(*kept, *more))


def with_local(kind: str | None, package: str | None = None) -> LintSubject:
    file = None if kind is None else LocalFile(kind=kind, sha256="1" * 64, package=package)
    subject = with_recipe(
        packages=Packages(install=INSTALL, local=("./a.deb",)),
        local_files=(LocalReference(key="packages.install", name="./a.deb"),),
    )
    return replace(subject, facts=replace(FACTS, local={"./a.deb": file}))


def with_owners(**owners: str) -> LintSubject:
    """``owners`` maps packages to paths."""
    more = {path: package for package, path in owners.items()}
    return with_facts(contents=replace(CONTENTS, owners={**CONTENTS.owners, **more}))
