"""What a tree seeds, judged by systemd-tmpfiles: an empty /var becomes the one that was built."""

from __future__ import annotations

import os
import posixpath
import struct
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from atoll.builder.finish.image_layout import drop_var, move_state, move_tree_var, write_seeds
from atoll.builder.finish.var_rules import VarAction, match_var_rule
from atoll.host.fs import remove_tree
from tests.programs.small_root import ensure_small_root, laid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.network]

PLACES = ("var/lib/thing", "var/spool/thing", "srv", "home", "var", "var/lib", "opt", "var/www")
NAMES = st.one_of(
    st.sampled_from(
        [
            "Bobs Files",
            'a"b',
            "it's",
            "back\\slash",
            "100%",
            "%m%%",
            "-",
            " lead",
            "tail ",
            "#no comment",
            "tab\there",
            "\x01\x7f",
            "line\nbreak",
            "\r",
            "*?[x]",
            "\\x41",
            "ünï",
            os.fsdecode(b"\xff\xfe"),
            ".hidden",
            "a:b,c=d",
        ]
    ),
    st.text(
        st.characters(min_codepoint=1, max_codepoint=0x2FF, exclude_characters="/"),
        min_size=1,
        max_size=8,
    ).filter(lambda name: name not in (".", "..")),
)
MODES = st.sampled_from([0o755, 0o700, 0o2775, 0o1777, 0o640, 0o4755, 0o000])
OWNERS = st.sampled_from([(0, 0), (5, 60), (1234, 4321)])
THINGS = st.tuples(
    st.sampled_from(PLACES),
    st.lists(NAMES, min_size=1, max_size=3),
    st.sampled_from(["directory", "file", "link", "acl"]),
    MODES,
    OWNERS,
    NAMES,
)


@contextmanager
def small(place: Path) -> Iterator[Path]:
    with laid_over(ensure_small_root(), place / "overlay") as root:
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        (root / "etc/machine-id").write_text(f"{7:032}\n")
        try:
            yield root
        finally:
            subprocess.run(["umount", root / "proc"], check=True)


def seed(root: Path) -> str:
    """Let the root's own systemd-tmpfiles lay out /var; what it complains of."""
    words = ["chroot", str(root), "systemd-tmpfiles", "--create", "--boot", "--prefix=/var"]
    return subprocess.run(words, check=False, capture_output=True, text=True).stderr


def look(root: Path, top: str) -> dict[str, tuple[object, ...]]:
    """All that is below ``top``, as it is."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root / top):
        for name in (*folders, *files):
            path = Path(folder, name)
            status = path.lstat()
            content: object = None
            if path.is_symlink():
                # /var/run is "/run" in one and "../run" in the other
                target = posixpath.join(f"/var/{folder[len(str(root / top)) :]}", path.readlink())
                content = posixpath.normpath(target).replace("//", "/")
            elif path.is_file():
                content = path.read_bytes()
            xattrs = {
                name: os.getxattr(path, name, follow_symlinks=False)
                for name in os.listxattr(path, follow_symlinks=False)
                if not name.startswith("trusted.")
            }
            found[str(path.relative_to(root / top))] = (
                oct(status.st_mode),
                status.st_uid,
                status.st_gid,
                content,
                xattrs,
            )
    return found


def make(root: Path, thing: tuple[str, list[str], str, int, tuple[int, int], str]) -> None:
    place, names, kind, mode, owner, other = thing
    path = root / place
    for name in names[:-1]:
        path /= name
        if path.is_symlink() or path.is_file():
            return
        path.mkdir(parents=True, exist_ok=True)
    path.mkdir(parents=True, exist_ok=True)
    path /= names[-1]
    if path.is_symlink() or path.exists():
        return
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(other)
    else:
        path.write_bytes(os.fsencode(other))
    os.chown(path, *owner, follow_symlinks=False)
    if kind != "link":
        path.chmod(mode)
    if kind == "acl":
        entries = [
            (1, 6, 2**32 - 1),
            (2, 7, 77),
            (4, 4, 2**32 - 1),
            (16, 7, 2**32 - 1),
            (32, 0, 2**32 - 1),
        ]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *one) for one in entries)
        os.setxattr(path, "system.posix_acl_access", value)


@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(things=st.lists(THINGS, min_size=8, max_size=30))
def test_the_seeded_var_is_the_built_one(
    things: list[tuple[str, list[str], str, int, tuple[int, int], str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with small(tmp_path_factory.mktemp("seeded")) as root:
        for thing in things:
            make(root, thing)
        check(root)


@pytest.mark.parametrize("name", ["\\x41", "a\\b", "*?[x]", "100%", 'a"b', "back\\", "[!a]"])
def test_the_access_list_of_an_odd_name_is_seeded(name: str, tmp_path: Path) -> None:
    """systemd-tmpfiles takes the path of such a line for a pattern."""
    with small(tmp_path) as root:
        make(root, ("var/spool/thing", ["in", name], "acl", 0o640, (5, 60), "content"))
        check(root)


@pytest.mark.parametrize(
    "line",
    [
        "d /var/lib/thing 0750 5 60 10d",
        "d /var/lib/thing - - - 10d",
        "D /var/lib/thing 0700",
        "f /var/lib/thing/deep 0600 - - - text",
        "L /var/lib/thing - - - - /elsewhere",
        "d /var/lib/thing/deep 0700 5 5",
        "C /var/lib/thing - - - - /usr/share/thing",
        "f /var/thing - - - - other",
    ],
)
def test_what_a_package_declares_itself_keeps_content_and_mode(line: str, tmp_path: Path) -> None:
    with small(tmp_path) as root:
        (root / "usr/lib/tmpfiles.d/thing.conf").write_text(f"{line}\n")
        (root / "var/lib/thing/deep/in").mkdir(parents=True)
        (root / "var/lib/thing").chmod(0o750)
        os.chown(root / "var/lib/thing", 5, 60)
        (root / "var/lib/thing/deep/in/data").write_text("content")
        (root / "var/thing").write_text("content")
        check(root, silent="/thing 0" in line or "/deep" in line)


def check(root: Path, *, silent: bool = True) -> None:
    """The root's packages have lines of their own; Debian's boot has run those over it, too."""
    remove_tree(root / "var/log")
    seed(root)
    drop_var(root)
    owned = move_tree_var(root)
    move_state(root)
    built = look(root, "usr/lib/atoll/factory/var")
    write_seeds(root, owned)
    (root / "var").mkdir(exist_ok=True)
    for path in owned:
        (root / path[1:]).mkdir(parents=True, exist_ok=True)
    said = seed(root)
    assert not silent or "tmpfiles.d" not in said
    mounts = {path.removeprefix("/var/") for path in owned}
    seeded = look(root, "var")
    made = {
        path for path in seeded if match_var_rule(f"/var/{path}") is VarAction.DROP
    } - built.keys()
    assert {path: each for path, each in seeded.items() if path not in mounts | made} == built
    seed(root)
    assert look(root, "var") == seeded
