"""Every lint finds its case, and only its case."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from atoll.base.errors import UsageError
from atoll.debian.apt_query import AvailablePackage
from atoll.debian.dpkg_database import Package
from atoll.image.info import VarRules
from atoll.lint.explain import explain_lint, format_page
from atoll.lint.model import FactKind, LintSubject, LocalFile, Severity
from atoll.lint.run import LINTS, find_lint, require_lints, run_lints
from atoll.recipe.language.schema import each_key, each_table
from atoll.recipe.model import (
    Box,
    Debian,
    DebianBase,
    File,
    Flatpak,
    Group,
    Health,
    ImageBase,
    Kernel,
    LocalReference,
    Packages,
    Repository,
    Script,
    System,
    Units,
    Update,
)
from tests.unit.lint.subjects import (
    ADA,
    CONTENTS,
    FACTS,
    GOOD,
    INSTALL,
    LISTS,
    with_facts,
    with_file,
    with_install,
    with_local,
    with_owners,
    with_plan,
    with_recipe,
    with_user,
)

PAGE = Path(__file__).parents[3] / "docs/reference/lints.md"
CONTRIB = AvailablePackage(
    name="steam", version="1", suite="trixie", component="contrib", architecture=""
)
DKMS = ("zfs-dkms",)
MINE = Repository(name="mine", uris=("https://x",), suites=("y",))
FETCHING = Script(name="s", text="", network=True)
WITH_FIRMWARE = Debian(suite="trixie", components=("main", "non-free-firmware"))
GERMAN = System(locale="de_DE.UTF-8")
VIRTUAL = replace(LISTS, virtual={"mta": ("exim4",)})

_END = "PRIVATE KEY-----\n"
KEYS = (
    *(
        f"# mine\n-----BEGIN {kind}{_END}MII\n"
        for kind in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ", "ENCRYPTED SIGSTORE ", "DSA ")
    ),
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
    "# created: 2026\nAGE-SECRET-KEY-1QQQQ\n",
    f"[Interface]\nPrivateKey = {'a' * 43}=\n",
    f"[wireguard]\nprivate-key={'a' * 43}=\n",
    "PuTTY-User-Key-File-3: ssh-ed25519\n",
    "untrusted comment: minisign encrypted secret key\nRWR\n",
    "Private-key-format: v1.3\n",
)


def with_keymap(subject: LintSubject, keymap: str) -> LintSubject:
    recipe = subject.recipe
    return replace(subject, recipe=replace(recipe, system=replace(recipe.system, keymap=keymap)))


WANTED = "/etc/systemd/system/multi-user.target.wants"
UNBUILT = replace(FACTS, accounts=None)
BAD: dict[str, list[tuple[LintSubject, str]]] = {
    "not-obeyed": [
        (with_recipe(flatpak=Flatpak(install=("org.foo.Bar",))), "installs no Flatpak"),
        (with_recipe(boxes=(Box(name="dev", image="docker://x/y:1"),)), "creates no box"),
    ],
    "package-pointless": [
        (with_install("unattended-upgrades"), "unattended-upgrades does nothing on a machine"),
    ],
    "network-missing": [
        (with_plan(without="network-manager"), "nothing sets up the network"),
        (
            replace(
                with_plan(without="network-manager"),
                recipe=replace(GOOD.recipe, units=Units(enable=("systemd-networkd",))),
            ),
            "no .network file for systemd",
        ),
    ],
    "login-missing": [
        (
            with_facts(
                plan=tuple(
                    one for one in FACTS.plan or () if one.name not in ("login", "openssh-server")
                )
            ),
            "nobody can log in",
        ),
    ],
    "group-of-no-package": [
        (replace(with_user(groups=("docker",)), facts=UNBUILT), "which no package here creates"),
        (replace(with_user(groups=("wheel",)), facts=UNBUILT), "ada is in the group wheel"),
    ],
    "locale-unknown": [
        (with_recipe(system=System(locale="de_DD.UTF-8")), "no locale de_DD.UTF-8"),
        (with_recipe(system=System(locales=("xx_YY.UTF-8",))), "no locale xx_YY.UTF-8"),
    ],
    "keyboard-unknown": [
        (with_recipe(system=System(keymap="qwertz")), "no keyboard layout qwertz"),
        (with_recipe(system=System(keymap="de-nodeadkey")), "has no variant nodeadkey"),
    ],
    "time-zone-unknown": [
        (with_recipe(system=System(timezone="Berlin")), "there is no time zone Berlin"),
    ],
    "package-unknown": [
        (with_install("htopp"), "no package htopp"),
        (with_recipe(kernel=Kernel(package="linux-image-no")), "no package linux-image-no"),
    ],
    "version-unknown": [
        (with_install("zsh=2"), "zsh has no version 2"),
        (
            with_recipe(packages=Packages(install=INSTALL, versions=(("zsh", "2.*"),))),
            "zsh has no version 2.*",
        ),
    ],
    "source-unknown": [
        (with_install("zsh/sid"), "no suite or repository sid"),
        (with_facts(refused="no suite x", lists=None), "no suite x"),
        (
            with_recipe(packages=Packages(install=INSTALL, sources=(("zsh", "mine"),))),
            "no suite or repository mine",
        ),
    ],
    "architecture-missing": [(with_install("zsh:i386"), "zsh:i386 is for i386")],
    "packages-unmet": [(with_facts(unmet="a needs b"), "a needs b")],
    "removed-unknown": [
        (
            with_recipe(packages=Packages(install=INSTALL, remove=("nanoo",))),
            "nanoo cannot be removed",
        )
    ],
    "dkms-without-headers": [(with_plan(*DKMS), "zfs-dkms cannot be built")],
    "modules-unsigned": [(with_plan(*DKMS, "linux-headers-amd64"), "zfs-dkms are not signed")],
    "firmware-missing": [
        (with_plan("linux-image-amd64", without="linux-image-cloud-amd64"), "no firmware")
    ],
    "firmware-component-missing": [
        (
            with_plan(
                "linux-image-amd64", "firmware-linux-free", without="linux-image-cloud-amd64"
            ),
            "non-free-firmware is not used",
        )
    ],
    "microcode-missing": [
        (
            with_plan("linux-image-amd64", "firmware-iwlwifi", without="linux-image-cloud-amd64"),
            "no microcode",
        )
    ],
    "locales-missing": [(with_recipe(system=GERMAN), "de_DE.UTF-8 cannot")],
    "time-zones-missing": [(with_recipe(system=System(timezone="Etc/UTC")), "the package tzdata")],
    "repository-unsigned": [
        (
            with_recipe(repositories=(MINE,)),
            "mine has no signing key",
        )
    ],
    "suite-moves": [(with_recipe(base=DebianBase(suite="sid")), "sid is a rolling suite")],
    "kernel-missing": [(with_plan(without="linux-image-6.12.1-cloud-amd64"), "no kernel")],
    "kernels-two": [(with_plan("linux-image-6.13-amd64"), "more than one kernel")],
    "passphrase-keyboard": [
        (
            with_keymap(with_plan("systemd-cryptsetup", "kbd"), "de"),
            "on an American keyboard without console-setup",
        ),
    ],
    "init-missing": [(with_plan(without="systemd-sysv"), "no init")],
    "atoll-missing": [(with_plan(without="atoll-system"), "atoll-system is not installed")],
    "argument-twice": [
        (with_recipe(kernel=Kernel(args=("loglevel=3", "loglevel=4"))), "after loglevel=3"),
        (with_recipe(kernel=Kernel(args=("console=tty0", "console=tty0"))), "after console=tty0"),
    ],
    "argument-of-no-base": [
        (with_recipe(kernel=Kernel(remove_args=("quiet",))), "quiet cannot be removed"),
    ],
    "module-both-ways": [
        (with_recipe(kernel=Kernel(modules=("a",), blacklist=("a", "b"))), "the module a")
    ],
    "base-unpinned": [
        (with_recipe(base=ImageBase(reference="docker://h:5000/n")), "pushed last"),
        (with_recipe(base=ImageBase(reference="docker://h/n:latest")), "pushed last"),
        (
            with_recipe(base=ImageBase(reference="docker://h/n:1")),
            "nothing pins the image docker://h/n:1",
        ),
        (with_recipe(base=ImageBase(reference="oci:dir:1")), "nothing pins the image oci:dir:1"),
    ],
    "box-unpinned": [(with_recipe(boxes=(Box(name="b", image="docker://h/n"),)), "box b")],
    "update-from-nowhere": [(with_recipe(update=Update(auto="stage")), "names no image to follow")],
    "unit-unknown": [
        (with_recipe(units=Units(enable=("sshd.service",))), "no unit sshd.service"),
        (with_recipe(units=Units(user_enable=("ssh.service",))), "no unit ssh.service"),
        (with_recipe(health=Health(units=("no.service",))), "no unit no.service"),
    ],
    "unit-pointless": [
        (with_recipe(units=Units(mask=("no.timer",))), "no unit no.timer"),
        (with_recipe(units=Units(dropins=(("no.service", "[Unit]\n"),))), "no unit no.service"),
    ],
    "unit-not-linked": [
        (with_recipe(files=(File(path=f"{WANTED}/mine.service", text=""),)), "needs a link there"),
        (
            with_recipe(
                files=(File(path="/usr/lib/systemd/user/a.target.requires/b.socket", source="b"),)
            ),
            "b.socket is a file",
        ),
    ],
    "id-conflict": [
        (with_user(uid=101), "uid 101 of ada already belongs to _ssh"),
        (with_recipe(groups=(Group(name="netdev", gid=900),)), "netdev already has gid 102"),
        (
            with_recipe(groups=(Group(name="a", gid=900), Group(name="b", gid=900))),
            "gid 900 of b already belongs to a",
        ),
        (with_recipe(groups=(Group(name="a", gid=27),)), "gid 27 of a already belongs to sudo"),
    ],
    "group-unknown": [(with_user(groups=("wheel",)), "the group wheel")],
    "owner-unknown": [
        (with_file(owner="bob"), "the owner bob"),
        (with_file(group="bob"), "the group bob"),
    ],
    "account-tools-missing": [(with_plan(without="passwd"), "accounts cannot be created")],
    "shell-missing": [
        (with_user(shell="/bin/fish"), "the shell /bin/fish"),
        (with_user(shell="/usr/bin/none"), "the shell /usr/bin/none"),
    ],
    "sudo-locked": [(with_user(password_hash=None, ssh_keys=("k",)), "ada may use sudo")],
    "login-impossible": [(with_user(password_hash=None), "nobody can log in as ada")],
    "no-way-in": [(with_recipe(users=()), "nobody can log in")],
    "local-missing": [
        (with_local(None), "./a.deb does not exist"),
        (with_local("directory"), "./a.deb is not a file"),
        (with_local("file"), "./a.deb is not a Debian package"),
    ],
    "world-writable": [(with_file(mode=0o666), "/etc/motd is writable by everyone")],
    "setuid-file": [(with_file(mode=0o4755), "/etc/motd runs as root")],
    "private-key": [
        *((with_file(text=text), "the text of /etc/motd contains a private key") for text in KEYS),
        (
            replace(
                with_recipe(local_files=(LocalReference(key="file.source", name="a"),)),
                facts=replace(FACTS, local={"a": LocalFile(kind="file", secret=True)}),
            ),
            "a contains a private key",
        ),
        (
            with_recipe(scripts=(Script(name="s", text=f"echo '{KEYS[0]}' >/etc/key"),)),
            "the text of s contains a private key",
        ),
    ],
    "file-shadows-package": [(with_file(path="/bin/zsh"), "a file of the package zsh")],
    "var-uncovered": [(with_owners(odd="/var/lib/odd/file"), "/var/lib/odd/file")],
    "package-in-usr-local": [(with_owners(odd="/usr/local/bin/odd"), "odd ships")],
    "script-network": [(with_recipe(scripts=(FETCHING,)), "script s")],
    "lock-missing": [(replace(GOOD, lock=None), "no lock")],
    "lock-stale": [
        (with_facts(requirements=("install vim",)), "+ install vim; - install zsh"),
        (
            with_facts(local={"a.txt": LocalFile(kind="file", sha256="2" * 64)}),
            "a.txt changed since it was locked",
        ),
    ],
}

FINE: dict[str, list[LintSubject]] = {
    "passphrase-keyboard": [
        with_plan("systemd-cryptsetup"),
        with_keymap(with_plan("systemd-cryptsetup"), "us"),
        with_keymap(with_plan("kbd"), "de"),
        with_keymap(with_plan("systemd-cryptsetup", "kbd", "console-setup"), "de"),
    ],
    "not-obeyed": [with_recipe(update=Update(auto="stage", follow="docker://x/y:z"))],
    "network-missing": [
        replace(
            with_plan(without="network-manager"),
            recipe=replace(
                GOOD.recipe,
                units=Units(enable=("systemd-networkd.service",)),
                files=(File(path="/etc/systemd/network/80-wired.network", text="x"),),
            ),
        ),
    ],
    "group-of-no-package": [
        with_user(groups=("docker",)),
        replace(
            with_user(groups=("docker",)),
            facts=replace(UNBUILT, plan=with_plan("docker.io").facts.plan),
        ),
    ],
    "locale-unknown": [
        with_recipe(system=System(locale="de_DE.UTF-8", locales=("ca_ES@valencia", "sr_RS@latin"))),
        with_recipe(system=System(locale="xx_YY.UTF-8"), debian=Debian(suite="sid")),
    ],
    "keyboard-unknown": [
        with_recipe(system=System(keymap="de-nodeadkeys")),
        with_recipe(system=System(keymap="us")),
        with_recipe(system=System(keymap="qwertz"), debian=Debian(suite="sid")),
    ],
    "time-zone-unknown": [with_recipe(system=System(timezone="Europe/Berlin"))],
    "package-unknown": [
        with_install("zsh=1", "zsh/stable"),
        replace(with_install("mta"), facts=replace(FACTS, lists=VIRTUAL)),
    ],
    "version-unknown": [
        with_install("zsh=1"),
        with_recipe(packages=Packages(install=INSTALL, versions=(("zsh", "1*"),))),
    ],
    "source-unknown": [with_install("zsh/trixie")],
    "architecture-missing": [with_install("zsh:amd64")],
    "dkms-without-headers": [with_plan(*DKMS, "linux-headers-amd64")],
    "firmware-missing": [with_plan("linux-image-amd64", "firmware-linux-free")],
    "firmware-component-missing": [
        replace(
            with_plan("linux-image-amd64", without="linux-image-cloud-amd64"),
            recipe=with_recipe(debian=WITH_FIRMWARE).recipe,
        ),
        replace(
            with_plan("linux-image-amd64", without="linux-image-cloud-amd64"),
            recipe=with_recipe(base=ImageBase(reference="store:x")).recipe,
        ),
    ],
    "microcode-missing": [
        with_plan("linux-image-amd64", "amd64-microcode", without="linux-image-cloud-amd64"),
        with_facts(plan=(Package(name="linux-image-arm64", version="1", architecture="arm64"),)),
    ],
    "locales-missing": [replace(with_plan("locales"), recipe=with_recipe(system=GERMAN).recipe)],
    "base-unpinned": [
        with_recipe(base=ImageBase(reference="docker://h/n@sha256:" + "0" * 64)),
    ],
    "kernel-missing": [
        replace(
            with_plan(without="linux-image-6.12.1-cloud-amd64"),
            recipe=with_recipe(base=ImageBase(reference="store:x")).recipe,
        ),
    ],
    "box-unpinned": [with_recipe(boxes=(Box(name="b", image="docker://h/n:12"),))],
    "update-from-nowhere": [with_recipe(update=Update(auto="stage", follow="docker://h/n:1"))],
    "unit-unknown": [
        with_recipe(units=Units(enable=("getty@tty2.service", "old.service", "x.mount"))),
        with_recipe(units=Units(user_enable=("podman.socket",))),
        with_recipe(
            units=Units(enable=("mine.service",)),
            files=(File(path="/etc/systemd/system/mine.service", text=""),),
        ),
        replace(
            with_recipe(units=Units(enable=("no.service",))),
            facts=replace(FACTS, contents=replace(CONTENTS, whole=False)),
        ),
    ],
    "unit-pointless": [with_recipe(units=Units(dropins=(("ssh.service", ""),)))],
    "unit-not-linked": [
        with_recipe(files=(File(path=f"{WANTED}/mine.service", link="../mine.service"),)),
        with_recipe(files=(File(path="/etc/systemd/system/a.service.d/b.conf", text=""),)),
    ],
    "id-conflict": [with_recipe(groups=(Group(name="netdev", gid=102),))],
    "group-unknown": [
        with_recipe(groups=(Group(name="wheel"),), users=(replace(ADA, groups=("wheel",)),)),
    ],
    "owner-unknown": [with_file(owner="ada", group="ada")],
    "shell-missing": [with_user(shell="/bin/sh"), with_user(shell="/usr/sbin/nologin")],
    "login-impossible": [
        with_user(password_hash=None, ssh_keys=("k",)),
        with_user(password_hash=None, shell="/usr/sbin/nologin"),
        with_user(password_hash=None, system=True),
    ],
    "local-missing": [with_local("file", "a")],
    "private-key": [
        with_file(text="-----BEGIN PUBLIC KEY-----\n"),
        with_file(text="-----BEGIN CERTIFICATE-----\nMII\n"),
        with_file(text="PublicKey = 0000000000000000000000000000000000000000000=\n"),
        with_file(text="# PrivateKey = is set by the machine\n"),
    ],
    "file-shadows-package": [with_file(path="/etc/init.d/old")],
    "var-uncovered": [
        replace(
            with_owners(odd="/var/lib/odd/file"),
            recipe=with_recipe(var=VarRules(state=("/var/lib/odd",))).recipe,
        ),
    ],
    "lock-missing": [GOOD],
    "lock-stale": [
        with_facts(local={"a.txt": None}),
        with_facts(requirements=None),
        replace(GOOD, lock=None),
    ],
}


def found(subject: LintSubject, name: str) -> list[str]:
    return [each.problem.message for each in run_lints(subject).found if each.lint.name == name]


def test_nothing_is_found_in_a_good_recipe() -> None:
    outcome = run_lints(GOOD)
    assert [each.problem.message for each in outcome.found] == []
    assert outcome.skipped == {}


def test_every_lint_has_a_bad_case() -> None:
    assert BAD.keys() == {lint.name for lint in LINTS}
    assert len({lint.name for lint in LINTS}) == len(LINTS)


@pytest.mark.parametrize(
    ("name", "subject", "words"),
    [(name, subject, words) for name, cases in BAD.items() for subject, words in cases],
)
def test_bad(name: str, subject: LintSubject, words: str) -> None:
    messages = found(subject, name)
    assert len(messages) == 1
    assert words in messages[0]


@pytest.mark.parametrize(
    ("name", "subject"), [(name, subject) for name, cases in FINE.items() for subject in cases]
)
def test_fine(name: str, subject: LintSubject) -> None:
    assert found(subject, name) == []


def test_keys_are_those_of_the_language() -> None:
    keys = {path for path, _ in each_key()} | {path for path, _ in each_table()}
    told = {
        each.problem.key
        for cases in BAD.values()
        for subject, _ in cases
        for each in run_lints(subject).found
    }
    assert told - {None} <= keys


def test_what_cannot_be_seen_is_said() -> None:
    facts = replace(
        FACTS,
        lists=None,
        plan=None,
        contents=None,
        accounts=None,
        missing=dict.fromkeys(FactKind, "because"),
    )
    outcome = run_lints(replace(GOOD, facts=facts))
    assert outcome.found == ()
    assert outcome.skipped.keys() == {lint.name for lint in LINTS if lint.needs}


def test_a_part_of_the_contents_is_looked_at_and_said() -> None:
    facts = replace(
        FACTS, contents=replace(CONTENTS, whole=False), missing={FactKind.CONTENTS: "because"}
    )
    outcome = run_lints(replace(with_file(path="/usr/bin/zsh"), facts=facts))
    assert [each.lint.name for each in outcome.found] == ["file-shadows-package"]
    assert "file-shadows-package" in outcome.skipped


def test_where_a_package_is_or_what_it_may_be_called() -> None:
    lists = replace(LISTS, near={"htopp": ("htop",)}, elsewhere=(CONTRIB,))
    subject = replace(with_install("htopp", "steam", "xx"), facts=replace(FACTS, lists=lists))
    found = run_lints(subject).found
    hints = [each.problem.hint for each in found if each.lint.name == "package-unknown"]
    assert hints == [
        "did you mean htop?",
        "it is in contrib: add it to [debian] components",
        "check the name",
    ]


def test_lints_are_left_out_by_name() -> None:
    assert run_lints(with_recipe(users=()), skip={"no-way-in"}).found == ()
    assert require_lints(["no-way-in"]) == {"no-way-in"}
    with pytest.raises(UsageError) as error:
        require_lints(["no-way-inn"])
    assert error.value.hint == "did you mean: no-way-in"


def test_a_finding_has_its_line() -> None:
    (each,) = run_lints(with_install("zsh=2")).found
    assert (each.problem.file, each.problem.line) == ("reef/atoll.toml", 9)
    assert each.lint.severity is Severity.FATAL


def test_explained_and_documented() -> None:
    lint = find_lint("kernels-two")
    assert lint
    text = explain_lint(lint)
    assert lint.name in text
    assert lint.why.split()[0] in text
    assert PAGE.read_text() == format_page(), (
        "write it again: python -m atoll.lint.explain docs/reference/lints.md"
    )
