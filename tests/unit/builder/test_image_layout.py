"""The shape of a tree: rules for /var, seeds, kernels, and what no tree may hold."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import PackageError, RecipeError
from atoll.builder.finish.factory import format_seeds, plan_seeds
from atoll.builder.finish.image_layout import (
    check_local,
    check_var,
    move_opt,
    move_tree_var,
)
from atoll.builder.finish.tmpfiles import parse_declared
from atoll.builder.finish.var_rules import RULES, VarAction, is_tree_owned_root, match_var_rule
from atoll.builder.steps.kernel import find_kernel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("boot", "opt", "usr/lib/atoll", "usr/local/bin", "var/lib", "var/log"):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def write(root: Path, path: str, text: str = "x") -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("path", "fate"),
    [
        ("/var/lib/dpkg/status", VarAction.TREE),
        ("/var/lib/dpkgother", None),
        ("/var/lib/systemd/catalog/database", VarAction.TREE),
        ("/var/lib/systemd/random-seed", VarAction.DROP),
        ("/var/lib/systemd/network/x", VarAction.STATE),
        ("/var/lib/apt/lists/x", VarAction.DROP),
        ("/var/lib/apt/marks/extended_states", VarAction.TREE),
        ("/var/cache/debconf/config.dat", VarAction.TREE),
        ("/var/cache/apt/pkgcache.bin", VarAction.DROP),
        ("/var/lib/unheard-of/file", None),
        ("/var/spool/cups/x", VarAction.STATE),
        ("/var/lib/smartmontools/drivedb/drivedb.h", VarAction.TREE),
        ("/var/lib/smartmontools/smartd.disk.ata.state", VarAction.STATE),
        ("/var/lib/greetd/x", VarAction.STATE),
    ],
)
def test_the_longest_rule_decides(path: str, fate: VarAction | None) -> None:
    assert match_var_rule(path) is fate


def test_no_tree_owned_directory_is_inside_another() -> None:
    owned = [path for path in RULES if is_tree_owned_root(path)]
    for path in owned:
        assert not any(path.startswith(other + "/") for other in owned), path


@given(st.sampled_from(sorted(RULES)), st.text(min_size=1).filter(lambda t: "/" not in t))
def test_what_is_below_a_rule_has_a_fate(rule: str, name: str) -> None:
    assert match_var_rule(f"{rule}/{name}") is not None


def test_a_path_without_a_rule_fails_and_names_its_package(root: Path) -> None:
    write(root, "/var/lib/unheard-of/data")
    owners = {"/var/lib/unheard-of": "strange-package"}
    with pytest.raises(PackageError) as caught:
        check_var(root, owners, ())
    assert "/var/lib/unheard-of/data" in caught.value.message
    assert "strange-package" in (caught.value.hint or "")


def test_empty_directories_and_homes_need_no_rule(root: Path) -> None:
    (root / "var/lib/unheard-of").mkdir()
    write(root, "/var/lib/backup-home/.ssh/authorized_keys")
    check_var(root, {}, ("/var/lib/backup-home",))


def test_tree_owned_directories_move_and_are_listed(root: Path) -> None:
    write(root, "/var/lib/dpkg/status", "Package: x\n")
    write(root, "/var/cache/debconf/config.dat")
    assert move_tree_var(root) == ["/var/cache/debconf", "/var/lib/dpkg"]
    assert (root / "usr/lib/atoll/tree-owned").read_text() == "/var/cache/debconf\n/var/lib/dpkg\n"
    assert (root / "usr/lib/atoll/var/lib/dpkg/status").read_text() == "Package: x\n"
    assert not (root / "var/lib/dpkg").exists()


def test_state_is_seeded_whole_per_program_and_never_over_a_mount(tmp_path: Path) -> None:
    write(tmp_path, "lib/flatpak/repo/config")
    write(tmp_path, "lib/systemd/timers/x")
    write(tmp_path, "lib/shells.state")
    (tmp_path / "log/empty").mkdir(parents=True)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool/mail").symlink_to("../mail")
    write(tmp_path, "root/.bashrc")
    write(tmp_path, "home/ann/.profile")
    lines = {(seed.kind, seed.path) for seed in plan_seeds(tmp_path, ["/var/lib/systemd/catalog"])}
    assert lines == {
        ("d", "/var/home"),
        ("C", "/var/home/ann"),
        ("d", "/var/lib"),
        ("C", "/var/lib/flatpak"),
        ("C", "/var/lib/shells.state"),
        ("d", "/var/lib/systemd"),
        ("C", "/var/lib/systemd/timers"),
        ("d", "/var/log"),
        ("d", "/var/log/empty"),
        ("C", "/var/root"),
        ("d", "/var/spool"),
        ("L", "/var/spool/mail"),
    }


def test_a_directory_that_a_package_declares_has_that_line_alone(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "log").mkdir()
    write(tmp_path, "lib/own/data")
    declared = dict(
        parse_declared(
            "# q /var/log\nq /var/tmp 1777 root root 30d\nx /var/log\nd %S/own 0750 own own 10d\n"
        )
    )
    seeds = list(plan_seeds(tmp_path, (), declared))
    assert [(seed.kind, seed.path) for seed in seeds] == [
        ("d", "/var/lib"),
        ("C", "/var/lib/own/data"),
        ("d", "/var/log"),
    ]


def test_what_a_package_declares_otherwise_than_it_is_comes_first(tmp_path: Path) -> None:
    for name, target in (("run", "/run"), ("same", "x"), ("other", "y")):
        (tmp_path / name).symlink_to(target)
    write(tmp_path, "file", "content")
    declared = dict(
        parse_declared(
            "L /var/run - - - - ../run\nL /var/same - - - - x\n"
            "L /var/other - - - - x\nf /var/file 0644 0 0\n"
        )
    )
    seeds = list(plan_seeds(tmp_path, (), declared))
    assert [(seed.path, seed.first) for seed in seeds] == [
        ("/var/file", True),
        ("/var/other", True),
    ]


def test_declared_lines_are_read_as_tmpfiles_reads_them() -> None:
    text = 'd "/var/a \\"b\\\\" - - -\nL+! /var/c - - - - /x y\n  d /var/d%%/ 0700\nv\n\n#d /x\n'
    lines = dict(parse_declared(text))
    assert lines.keys() == {'/var/a "b\\', "/var/c", "/var/d%"}
    assert (lines["/var/c"].argument, lines["/var/c"].forced) == ("/x y", True)
    assert (lines["/var/d%"].mode, lines["/var/d%"].user) == ("0700", "")


def test_names_are_written_as_tmpfiles_reads_them(tmp_path: Path) -> None:
    for name in ("with%percent", "Bobs Files", 'a"b\\c', "line\nbreak"):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(0o2755)
    (tmp_path / "link").symlink_to(" -\t%\\")
    uid, gid = os.getuid(), (tmp_path / "with%percent").stat().st_gid
    text = format_seeds(plan_seeds(tmp_path, ()))
    ends = f" 2755 {uid} {gid} -"
    assert [line.removesuffix(ends) for line in text.splitlines()[1:] if line[0] == "d"] == [
        'd "/var/Bobs Files"',
        'd "/var/a\\"b\\\\c"',
        'd "/var/line\\x0abreak"',
        'd "/var/with%%percent"',
    ]
    assert text.splitlines()[-2].endswith("- \\x20-\\x09%%\\x5c")


def test_a_tree_has_one_kernel(root: Path) -> None:
    with pytest.raises(RecipeError, match="no kernel"):
        find_kernel(root)
    write(root, "/boot/vmlinuz-6.12.1-amd64")
    assert find_kernel(root) == "6.12.1-amd64"
    write(root, "/boot/vmlinuz-6.12.2-amd64")
    with pytest.raises(RecipeError, match=r"2 kernels: 6\.12\.1-amd64, 6\.12\.2-amd64"):
        find_kernel(root)


def test_package_files_in_usr_local_fail(root: Path) -> None:
    check_local(root)
    write(root, "/usr/local/bin/tool")
    with pytest.raises(PackageError, match="/usr/local/bin/tool"):
        check_local(root)


def test_opt_moves_with_its_modes(root: Path) -> None:
    tool = write(root, "/opt/vendor/bin/tool")
    tool.chmod(0o4755)
    move_opt(root)
    moved = root / "usr/lib/opt/vendor/bin/tool"
    assert moved.stat().st_mode & 0o7777 == 0o4755
    assert not list((root / "opt").iterdir())
