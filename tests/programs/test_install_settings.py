"""A person's settings in a new machine, judged by the programs that write them on a running one."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import RecipeError
from atoll.base.report import NullReporter
from atoll.host.password_hash import hash_password
from atoll.installer.settings.check_settings import (
    choose_groups,
    find_notes,
    require_possible,
)
from atoll.installer.settings.image_contents import ImageContents
from atoll.installer.settings.install_settings import (
    PreparedSettings,
    plan_settings,
    prepare_settings,
)
from atoll.installer.settings.settings import Settings, UserSettings, WifiSettings
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.etc.etc_tree import is_file, node_at, replaced, with_content
from atoll.machine.etc.keyed_files import KEYED
from atoll.machine.etc.merge import plan_merge
from atoll.machine.etc.read import read_directory, read_layered
from atoll.machine.keyboard import KeyboardLayout
from atoll.store.layout import open_store
from atoll.store.refs import Ref, write_ref
from atoll.store.scan import import_directory
from atoll.store.tree_images import write_image
from atoll.tree.canonical import canonical
from tests.machines import EPOCH, system_files, write
from tests.programs.small_root import ensure_small_root, laid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

pytestmark = [pytest.mark.root, pytest.mark.network]
TOP = Path(__file__).parents[2]
HASH = (
    "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/"
    "ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"
)
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0XvYH ada@reef"
ADA = UserSettings(name="ada", password=HASH, gecos="Ada Lovelace")
COPIED = ("usr/share/zoneinfo", "usr/share/X11/xkb/rules", "usr/lib/locale")


class Small:
    """A small real Debian as an image in a store, and as the root that it was made from."""

    def __init__(self, store: Store, tree: TreeId, root: Path) -> None:
        self.store, self.tree, self.root = store, tree, root
        self.contents = ImageContents(store, tree)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    place = tmp_path_factory.mktemp("small")
    with laid_over(ensure_small_root(), place) as root:
        inside(root, "localedef -i de_DE -f UTF-8 de_DE.UTF-8; mkdir /etc/skel/.config")
        made = place / "tree"
        write(made, system_files("small", "1", "6.12-fake", {"bash": "5.2"}))
        shutil.rmtree(made / "etc")
        shutil.copytree(root / "etc", made / "etc", symlinks=True)
        for directory, _, files in os.walk(root / "etc"):
            for name in (*files, "."):
                path = Path(directory) / name
                if not path.is_symlink():
                    found = path.stat()
                    os.chown(made / path.relative_to(root), found.st_uid, found.st_gid)
        for name in COPIED:
            shutil.copytree(root / name, made / name, symlinks=True)
        for name in ("usr/sbin/NetworkManager", "usr/bin/bash", "usr/bin/zsh"):
            write(made, {name: "a program\n"})
        (made / "bin").symlink_to("usr/bin")
        store = open_store(place / "store", create=True)
        tree = canonical(import_directory(store, made, NullReporter()), epoch=EPOCH)
        name = write_image(store, tree)
        write_ref(store, "small", Ref(tree=name, name="small", version="1", created=EPOCH))
        yield Small(store, name, root)


def inside(root: Path, script: str) -> str:
    words = ["unshare", "--mount", "chroot", str(root), "sh", "-euc", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_what_the_image_has(small: Small) -> None:
    image = small.contents
    assert image.locales == ("C.utf8", "de_DE.utf8")
    assert image.has_locale("de_DE.UTF-8")
    assert image.has_locale("C.UTF-8")
    assert not image.has_locale("fr_FR.UTF-8")
    assert {"Europe/Berlin", "UTC", "America/Argentina/Ushuaia"} <= set(image.timezones)
    assert not {"tzdata.zi", "posix/UTC", "zone.tab"} & set(image.timezones)
    assert "nodeadkeys" in image.layouts["de"]
    assert image.layout_titles["de"] == "German"
    assert "sudo" in image.groups
    assert image.has("/bin/zsh")
    assert image.has_network_manager
    assert not image.has_networkd


def test_the_account_is_as_useradd_makes_it_on_the_running_system(
    small: Small, tmp_path: Path
) -> None:
    prepared = prepare_settings(Settings(user=ADA), small.contents)
    with laid_over(small.root, tmp_path) as root:
        groups = ",".join(choose_groups(ADA, small.contents))
        inside(
            root,
            f"useradd --create-home --shell /bin/bash --comment 'Ada Lovelace' --groups {groups}"
            f" ada; echo 'ada:{HASH}' | chpasswd --encrypted",
        )
        made = read_directory(root / "etc").root
        for name in KEYED:
            ours, theirs = node_at(prepared.etc, name), node_at(made, name)
            assert ours is not None
            assert theirs is not None
            assert ours.entry == theirs.entry, (name, ours.entry.read(), theirs.entry.read())
        assert prepared.home == read_directory(root / "home/ada").root
    shadow = node_at(prepared.etc, "shadow")
    assert shadow is not None
    assert (shadow.entry.mode, shadow.entry.gid) == (0o640, 42)
    assert b"root:*:" in shadow.entry.read()


def test_names_are_as_systemd_writes_them(small: Small, tmp_path: Path) -> None:
    settings = Settings(user=ADA, hostname="reef", timezone="Europe/Berlin", locale="de_DE.UTF-8")
    prepared = prepare_settings(settings, small.contents)
    with laid_over(small.root, tmp_path) as root:
        inside(
            root,
            "mount -t proc proc /proc; rm -f /etc/hostname /etc/localtime /etc/locale.conf;"
            " systemd-firstboot --root=/ --hostname=reef --timezone=Europe/Berlin"
            " --locale=de_DE.UTF-8",
        )
        made = read_directory(root / "etc").root
    for name in ("hostname", "localtime", "locale.conf"):
        ours, theirs = node_at(prepared.etc, name), node_at(made, name)
        assert ours is not None
        assert theirs is not None
        assert ours.entry.content == theirs.entry.content, name


def machine_with(prepared: PreparedSettings, root: Path) -> Sysroot:
    sysroot = Sysroot(root=root, esp=root / "esp")
    (sysroot.deployments / "1/etc/upper").mkdir(parents=True)
    apply_operations(plan_settings(prepared, sysroot))
    return sysroot


def test_it_is_the_persons_change_that_an_upgrade_keeps(small: Small, tmp_path: Path) -> None:
    settings = Settings(
        user=replace(ADA, ssh_keys=(KEY,)),
        hostname="reef",
        keyboard=KeyboardLayout(layout="de"),
        wifi=WifiSettings(ssid="reef", passphrase="correct horse"),
    )
    prepared = prepare_settings(settings, small.contents)
    sysroot = machine_with(prepared, tmp_path)
    upper = sysroot.deployments / "1/etc/upper"
    live = read_layered(prepared.tree, upper).root
    assert live == prepared.etc
    connection = upper / "NetworkManager/system-connections/reef.nmconnection"
    assert stat.S_IMODE(connection.stat().st_mode) == 0o600

    motd, group = node_at(prepared.tree, "motd"), node_at(prepared.tree, "group")
    assert motd is not None
    assert group is not None
    new = replaced(prepared.tree, "motd", replace(motd, entry=with_content(motd.entry, b"new\n")))
    more = group.entry.read() + b"added:x:777:\n"
    new = replaced(new, "group", replace(group, entry=with_content(group.entry, more)))
    merge = plan_merge(prepared.tree, live, new, ())
    assert merge.conflicts == ()
    for name, expected in (("passwd", b"ada:x:1000:1000:"), ("group", b"added:x:777:")):
        node = node_at(merge.result, name)
        assert node is not None
        assert expected in node.entry.read()
    for path in ("hostname", "default/keyboard", "NetworkManager/system-connections"):
        assert node_at(merge.result, path) == node_at(live, path)


def test_the_home_directory(small: Small, tmp_path: Path) -> None:
    user = replace(ADA, ssh_keys=(KEY,), uid=1234, shell="/bin/zsh")
    prepared = prepare_settings(Settings(user=user), small.contents)
    sysroot = machine_with(prepared, tmp_path)
    homes = sysroot.atoll / "var/home"
    home = homes / "ada"
    assert [each.name for each in homes.iterdir()] == ["ada"]
    assert stat.S_IMODE(homes.stat().st_mode) == 0o755
    for path in (home, home / ".bashrc", home / ".config", home / ".ssh/authorized_keys"):
        assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1234)
    assert stat.S_IMODE((home / ".ssh").stat().st_mode) == 0o700
    assert (home / ".ssh/authorized_keys").read_text() == f"{KEY}\n"

    (home / "letter").write_text("dear\n")
    apply_operations(plan_settings(prepared, sysroot))
    assert (home / "letter").read_text() == "dear\n", "a home that is there stays"
    assert [each.name for each in homes.iterdir()] == ["ada"]


def test_a_cut_after_any_operation_is_no_obstacle(small: Small, tmp_path: Path) -> None:
    prepared = prepare_settings(Settings(user=ADA, hostname="reef"), small.contents)
    complete = machine_with(prepared, tmp_path / "complete")
    expected = read_directory(complete.root).root
    count = len(plan_settings(prepared, complete))
    for number in range(count):
        root = tmp_path / str(number)
        sysroot = Sysroot(root=root, esp=root / "esp")
        (sysroot.deployments / "1/etc/upper").mkdir(parents=True)
        apply_operations(plan_settings(prepared, sysroot)[:number])
        apply_operations(plan_settings(prepared, sysroot))
        assert read_directory(root).root == expected, number


def test_the_person_logs_in_with_the_password(small: Small, tmp_path: Path) -> None:
    """PAM of the image judges, asked by another user who has to know the password."""
    user = replace(ADA, password=hash_password("correct horse"))
    sysroot = machine_with(
        prepare_settings(Settings(user=user), small.contents), tmp_path / "machine"
    )
    with laid_over(small.root, tmp_path / "overlay") as root:
        upper = sysroot.deployments / "1/etc/upper"
        subprocess.run(["cp", "--archive", f"{upper}/.", root / "etc"], check=True)
        subprocess.run(
            ["cp", "--archive", sysroot.atoll / "var/home/ada", root / "home"], check=True
        )
        ask = "runuser --user nobody -- su --login ada --command 'id --name --groups; pwd'"
        said = inside(root, f"mount -t proc proc /proc; echo correct horse | {ask}")
        groups, home = said.splitlines()
        assert groups.split()[0] == "ada"
        assert {"sudo", "audio", "video"} <= set(groups.split())
        assert home == "/home/ada"
        with pytest.raises(subprocess.CalledProcessError):
            inside(root, f"mount -t proc proc /proc; echo correct hors | {ask}")
        assert inside(root, "passwd --status root").split()[1] == "L"


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        (Settings(user=replace(ADA, name="daemon")), "has an account daemon", "another name"),
        (Settings(user=replace(ADA, name="crontab")), "has a group crontab", "another name"),
        (Settings(user=replace(ADA, groups=("sduo",))), "no group sduo", "did you mean: sudo"),
        (Settings(user=replace(ADA, shell="/bin/fish")), "no shell /bin/fish", "package"),
        (Settings(user=replace(ADA, uid=65534)), "65534 belongs to nobody", "leave it out"),
        (Settings(user=ADA, timezone="Europe/Berln"), "no time zone", "Europe/Berlin"),
        (Settings(user=ADA, locale="fr_FR.UTF-8"), "no locale fr_FR.UTF-8", "de_DE.utf8"),
        (Settings(user=ADA, keyboard=KeyboardLayout(layout="xy")), "no keyboard", "de"),
        (
            Settings(user=ADA, keyboard=KeyboardLayout(layout="us,de", variant=",nodeadkey")),
            "has no variant nodeadkey",
            "nodeadkeys",
        ),
    ],
)
def test_what_the_image_cannot_do(
    small: Small, settings: Settings, message: str, hint: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        require_possible(settings, small.contents)
    assert hint in (caught.value.hint or "")


def test_notes_on_who_else_can_log_in(small: Small) -> None:
    (note,) = find_notes(Settings(user=ADA), small.contents)
    assert "cannot become root" in note


def test_the_command(small: Small, tmp_path: Path) -> None:
    answers = tmp_path / "answers.toml"
    answers.write_text(
        f'schema = 1\nimage = "store:small"\n[user]\nname = "ada"\npassword = "{HASH}"\n'
        '[system]\nhostname = "reef"\ntimezone = "Europe/Berlin"\n'
    )
    machine, store = tmp_path / "machine", small.store.root
    done = atoll("install", "--answers", answers, "--check", "--store", store)
    assert done.returncode == 0, done.stderr
    assert not machine.exists()
    words = ("install", "--answers", answers, "--store", store, "--json")
    done = atoll(*words, "--into-directory", "--root", machine)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["deployment"] == 1
    assert HASH not in done.stdout + done.stderr
    upper = machine / "atoll/deployments/1/etc/upper"
    assert (upper / "hostname").read_text() == "reef\n"
    assert (machine / "atoll/var/home/ada/.bashrc").exists()
    assert is_file(node_at(read_directory(upper).root, "shadow"))
    changes = atoll("etc", "diff", "--root", machine).stdout
    assert "/etc/hostname" in changes

    answers.write_text(answers.read_text().replace("Europe/Berlin", "Europe/Berln"))
    for more in (("--check",), ("--into-directory", "--root", tmp_path / "other")):
        done = atoll(*words[:-1], *more)
        assert done.returncode == 2
        assert "did you mean: Europe/Berlin" in done.stderr
    assert not (tmp_path / "other").exists()


def atoll(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "atoll", *(str(word) for word in words)],
        env=os.environ | {"PYTHONPATH": str(TOP / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
