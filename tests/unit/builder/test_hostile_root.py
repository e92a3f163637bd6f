"""A root whose own links lead to the machine: nothing of the machine is read, written or removed.

Whoever makes an image decides its links. Each case is one part of a build at work on a root in
which one name leads out of it, by an absolute link and by a relative one.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError
from atoll.builder.finish.debian_layout import to_debian_layout
from atoll.builder.finish.image_layout import (
    drop_var,
    make_mount_points,
    move_kernel,
    move_marks,
    move_opt,
    move_state,
    move_tree_var,
    to_image_layout,
    write_seeds,
)
from atoll.builder.finish.normalize import normalize
from atoll.builder.finish.old_kernels import drop_old_kernels
from atoll.builder.finish.presets import drop_dangling, read_renamed
from atoll.builder.steps.kernel import check_modules
from atoll.builder.steps.modules import (
    clean_builds,
    find_sources,
    read_make_logs,
    remove_package_builds,
)
from atoll.builder.steps.policy import read_policy
from atoll.builder.steps.remap_ids import choose_ids, read_accounts, write_accounts
from atoll.builder.steps.system import set_hostname
from atoll.debian.install import resolver_binds, services_disabled
from atoll.recipe.model import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Work = Callable[[Path], object]

EPOCH = 1_788_000_000


def with_quiet(root: Path) -> None:
    with services_disabled(root):
        assert (root / "etc").exists()


def quiet_that_fails(root: Path) -> None:
    with pytest.raises(RuntimeError), services_disabled(root):
        raise RuntimeError


def settle_accounts(root: Path) -> None:
    write_accounts(root, read_accounts(root))


def modules(root: Path) -> None:
    find_sources(root)
    remove_package_builds(root, "1")
    clean_builds(root)
    assert "secret" not in read_make_logs(root)


CASES: list[tuple[str, Work]] = [
    ("usr/sbin/policy-rc.d", with_quiet),
    ("usr/sbin/policy-rc.d", quiet_that_fails),
    ("usr/sbin", with_quiet),
    ("usr", with_quiet),
    ("etc/resolv.conf", with_quiet),
    ("etc", lambda root: resolver_binds(root)),
    *(
        (name, lambda root: normalize(root, EPOCH))
        for name in (
            "etc",
            "etc/machine-id",
            "etc/fstab",
            "etc/shadow",
            "etc/.updated",
            "etc/ssh",
            "etc/ssl/private",
            "etc/resolv.conf",
            "etc/udev",
            "usr",
            "usr/sbin",
            "usr/share/info",
            "usr/lib/atoll",
            "usr/lib/atoll/var",
            "usr/lib/atoll/var/lib",
            "usr/lib/atoll/var/lib/dpkg",
            "usr/lib/atoll/var/lib/ucf",
            "usr/lib/atoll/var/cache/debconf",
            "usr/lib/atoll/var/lib/texmf",
            "usr/share/icons",
            "usr/share/icons/theme",
            "usr/share/icons/theme/index.theme",
            "usr/lib/python3/__pycache__",
            "usr/lib/python3/__pycache__/a.pyc",
        )
    ),
    *(
        (name, to_debian_layout)
        for name in (
            "usr/lib/atoll",
            "usr/lib/atoll/factory",
            "usr/lib/atoll/factory/var",
            "usr/lib/atoll/var",
            "usr/lib/atoll/recipe.d",
            "usr/lib/tmpfiles.d",
            "usr/lib/opt",
            "var",
            "opt",
            "home",
            "usr/lib/systemd/system-preset",
            "usr/lib/atoll/factory/var/home",
        )
    ),
    *(
        (name, lambda root: to_image_layout(root))
        for name in (
            "var",
            "boot",
            "opt",
            "home",
            "usr",
            "usr/lib",
            "usr/local",
            "usr/lib/atoll",
            "usr/lib/opt",
            "usr/lib/tmpfiles.d",
            "etc/apt",
            "etc/apt/apt.conf.d",
            "var/lib",
            "var/lib/apt",
            "var/lib/dpkg",
            "usr/lib/modules",
        )
    ),
    ("boot", lambda root: move_kernel(root, "1")),
    ("opt", lambda root: move_opt(root)),
    ("usr/lib/opt", lambda root: move_opt(root)),
    ("var/lib/apt", lambda root: move_marks(root)),
    ("etc/apt/apt.conf.d/60atoll-marks", lambda root: move_marks(root)),
    ("usr/lib/atoll/tree-owned", lambda root: move_tree_var(root)),
    ("usr/lib/atoll", lambda root: move_tree_var(root)),
    ("var/log", lambda root: drop_var(root)),
    ("usr/lib/atoll/factory", lambda root: move_state(root)),
    ("usr/lib/tmpfiles.d/a.conf", lambda root: write_seeds(root, [])),
    ("usr/lib/tmpfiles.d/atoll-factory.conf", lambda root: write_seeds(root, [])),
    ("usr/local", lambda root: make_mount_points(root)),
    ("usr", lambda root: make_mount_points(root)),
    ("etc/systemd/system", lambda root: drop_dangling(root)),
    ("etc/systemd/system/a.wants", lambda root: drop_dangling(root)),
    ("etc/systemd/system/a.service", lambda root: read_renamed(root)),
    ("usr/lib/modules", lambda root: drop_old_kernels(root, "1")),
    ("usr/lib/modules/0", lambda root: drop_old_kernels(root, "1")),
    ("usr/lib/modules/1", lambda root: check_modules(root, Kernel(modules=("loop",)))),
    (
        "usr/lib/modules/1/modules.builtin",
        lambda root: check_modules(root, Kernel(modules=("loop",))),
    ),
    ("var/lib/dkms", modules),
    ("var/lib/dkms/a", modules),
    ("usr/src", modules),
    ("usr/src/a-1", modules),
    ("usr/lib/modules/1/updates", modules),
    ("usr/lib/modules/1", modules),
    ("usr/lib/atoll/policy.json", read_policy),
    ("etc/passwd", settle_accounts),
    ("etc", settle_accounts),
    ("etc/hostname", lambda root: set_hostname(root, None, root)),
    ("etc", lambda root: set_hostname(root, None, root)),
]


def make_machine(place: Path) -> dict[str, bytes | None]:
    """A place that looks like everything that a build writes or removes."""
    pyc = struct.pack("<4sII", b"abcd", 0, EPOCH + 1)
    texts = {
        "": (
            "secret",
            "fstab",
            "machine-id",
            "shadow",
            "passwd",
            "group",
            "hostname",
            ".updated",
            "passwd-",
            "policy-rc.d",
            "ssh_host_key",
            "ssl-cert-snakeoil.key",
            "hwdb.bin",
            "status-old",
            "lock",
            "a-old",
            "a.1",
            "a.log",
            "a.dpkg-old",
            "image.json",
            "recipe.toml",
            "atoll-factory.conf",
            "vmlinuz-1",
            "dir.old",
            "lost.service",
            "extended_states",
            "60atoll-marks",
            "00-atoll.preset",
            "mok.pub",
            "a.conf",
            "modules.builtin",
            "dkms.conf",
            "index.theme",
            "icon-theme.cache",
            "sources.list",
            "tree-owned",
            "resolv.conf",
        ),
        "var/lib": ("kept",),
        "dpkg": ("status-old", "lock"),
        "opt": ("kept",),
        "lib": ("kept",),
        "home": ("kept",),
        "sbin": ("policy-rc.d",),
        "dkms": ("log",),
        "a": ("log",),
        "share/info": ("dir.old",),
        "lib/atoll": ("image.json",),
        "theme": ("icon-theme.cache",),
    }
    for folder, names in texts.items():
        (place / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            (place / folder / name).write_text("secret\n")
    (place / "a.pyc").write_bytes(pyc)
    (place / "empty").mkdir()
    return snapshot(place)


def snapshot(place: Path) -> dict[str, bytes | None]:
    return {
        f"{path.relative_to(place)} {path.lstat().st_mode:o}": path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(place.rglob("*"))
    }


def make_root(root: Path) -> None:
    for name in (
        "etc/apt/apt.conf.d",
        "usr/sbin",
        "usr/lib/atoll/var",
        "usr/lib/atoll/factory/var",
        "usr/share/icons",
        "usr/lib/modules/1",
        "usr/local",
        "var/lib/dpkg/info",
        "boot",
        "opt/x",
        "home",
        "usr/lib/tmpfiles.d",
        "var/lib/apt",
        "etc/systemd/system",
    ):
        (root / name).mkdir(parents=True)
    (root / "usr/lib/modules/1/vmlinuz").write_text("kernel")
    (root / "usr/lib/modules/1/loop.ko").write_text("module")
    (root / "var/lib/dpkg/status").write_text("")
    (root / "var/lib/dpkg/diversions").write_text("")
    (root / "usr/lib/atoll/tree-owned").write_text("/var/lib/dpkg\n")
    for name in ("passwd", "group", "shadow", "gshadow"):
        (root / "etc" / name).write_text("")


@pytest.mark.parametrize("how", ["absolute", "relative"])
@pytest.mark.parametrize(
    ("name", "work"), CASES, ids=[f"{number}-{name}" for number, (name, _) in enumerate(CASES)]
)
def test_no_link_of_a_root_leads_a_build_to_the_machine(
    tmp_path: Path, name: str, work: Work, how: str
) -> None:
    machine, root = tmp_path / "machine", tmp_path / "root"
    before = make_machine(machine)
    make_root(root)
    link = root / name
    if link.is_dir():
        link.rename(tmp_path / "gone")
    link.unlink(missing_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    target = machine / link.name if (machine / link.name).is_file() else machine
    link.symlink_to(target if how == "absolute" else os.path.relpath(target, link.parent))
    try:
        said = work(root)
    except (AtollError, OSError) as error:
        said = error
    assert "secret" not in repr(said)
    assert snapshot(machine) == before


@pytest.mark.parametrize("path", ["/../../machine/var", "/var/../../../machine/var"])
def test_a_base_cannot_name_paths_outside_of_it(tmp_path: Path, path: str) -> None:
    machine, root = tmp_path / "machine", tmp_path / "root"
    before = make_machine(machine)
    make_root(root)
    (root / "var/lib").rename(tmp_path / "gone")
    (root / "usr/lib/atoll/tree-owned").write_text(f"{path}\n")
    with pytest.raises((AtollError, OSError)):
        to_debian_layout(root)
    assert snapshot(machine) == before


def test_settings_of_accounts_are_read_inside(tmp_path: Path) -> None:
    from atoll.builder.steps.ids import AccountIds
    from atoll.recipe.model import Debian, DebianBase, Image, Packages, Recipe

    machine, root = tmp_path / "machine", tmp_path / "root"
    make_machine(machine)
    make_root(root)
    (machine / "a.conf").write_text("u secret 777\n")
    (root / "usr/lib/sysusers.d").symlink_to(machine)
    recipe = Recipe(
        file=str(tmp_path / "atoll.toml"),
        text="",
        base=DebianBase(suite="trixie"),
        image=Image(name="small", version="1"),
        debian=Debian(suite="trixie"),
        packages=Packages(),
    )
    assert "secret" not in repr(choose_ids(root, recipe, AccountIds()))


def test_what_a_failed_installation_leaves_forbids_no_service(tmp_path: Path) -> None:
    make_root(tmp_path)
    quiet_that_fails(tmp_path)
    assert not (tmp_path / "usr/sbin/policy-rc.d").exists()
    assert not (tmp_path / "etc/resolv.conf").exists()
