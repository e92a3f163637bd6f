"""Control data and dependencies."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged
from atoll.debian.deb import read_control
from atoll.debian.local_archive import format_packages, read_stanza, write_archive
from atoll.debian.pin import Pin
from atoll.debian.stanza import Stanza, closure, parse_relation, parse_stanza


def stanza(name: str, architecture: str = "amd64", **fields: str) -> Stanza:
    more = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
    return parse_stanza(f"Package: {name}\nVersion: 1\nArchitecture: {architecture}\n{more}")


def names(found: frozenset[tuple[str, str]]) -> list[str]:
    return sorted(name for name, _ in found)


def test_fields_of_a_stanza() -> None:
    one = parse_stanza("Package: a\nDepends: b,\n c\nEssential: yes\n")
    assert (one.name, one.essential) == ("a", True)
    assert list(one.dependencies()) == [("b",), ("c",)]


def test_a_relation_is_names_only() -> None:
    text = "a (>= 1:2~) [amd64], b:any | c (= ${x}) , d <!nocheck>,, e"
    assert list(parse_relation(text)) == [("a",), ("b", "c"), ("d",), ("e",)]


def test_the_closure_follows_dependencies_and_who_provides_them() -> None:
    those = [
        stanza("a", depends="b, virtual", recommends="r"),
        stanza("b", pre_depends="c"),
        stanza("c"),
        stanza("r"),
        stanza("p", provides="virtual (= 1)"),
        stanza("x", depends="a"),
    ]
    roots = [("a", "amd64"), ("gone", "amd64")]
    assert names(closure(those, roots)) == ["a", "b", "c", "p"]
    assert "r" in names(closure(those, roots, recommends=True))


def test_a_dependency_stays_within_its_architecture() -> None:
    those = [
        stanza("game", "i386", depends="libc, fonts, tool"),
        stanza("libc"),
        stanza("libc", "i386"),
        stanza("fonts", "all"),
        stanza("tool", **{"multi_arch": "foreign"}),
    ]
    found = closure(those, [("game", "i386")])
    assert ("libc", "i386") in found and ("libc", "amd64") not in found
    assert names(found) == ["fonts", "game", "libc", "tool"]


@given(st.text())
def test_any_text_is_a_stanza_of_something(text: str) -> None:
    one = parse_stanza(text)
    list(one.dependencies(recommends=True))
    assert parse_stanza(one.text).fields == one.fields


def make_deb(path: Path, packing: str) -> None:
    tree = path.parent / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    control = "Package: a\nVersion: 1:2\nArchitecture: all\nMaintainer: x\nDescription: y\n"
    (tree / "DEBIAN/control").write_text(control)
    words = ["dpkg-deb", f"-Z{packing}", "--uniform-compression", "--build", str(tree), str(path)]
    subprocess.run(words, check=True, capture_output=True)


@pytest.mark.parametrize("packing", ["none", "gzip", "xz", "zstd"])
def test_control_data_of_a_package_file(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "a.deb"
    make_deb(path, packing)
    one = parse_stanza(read_control(path))
    assert (one.name, one.version, one.architecture) == ("a", "1:2", "all")


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_make_the_reader_fail_otherwise(content: bytes, begins: bool) -> None:
    path = Path("/dev/shm") / "atoll-test-any.deb"
    path.write_bytes(b"!<arch>\n" * begins + content)
    try:
        read_control(path)
    except AtollError as error:
        assert isinstance(error, Damaged)
    finally:
        path.unlink()


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz", ".zst", ".lz"])
def test_damaged_control_data(tmp_path: Path, suffix: str) -> None:
    for content in (b"", b"\x1f\x8b\x08 nonsense", b"x" * 700):
        header = f"control.tar{suffix}".ljust(48) + str(len(content)).ljust(10) + "`\n"
        (tmp_path / "a.deb").write_bytes(b"!<arch>\n" + header.encode() + content)
        with pytest.raises(Damaged):
            read_control(tmp_path / "a.deb")


def test_a_package_without_control_file(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:") as tar:
        tar.addfile(tarfile.TarInfo("./other"))
    content = packed.getvalue()
    header = "control.tar".ljust(48) + str(len(content)).ljust(10) + "`\n"
    (tmp_path / "a.deb").write_bytes(b"!<arch>\n" + header.encode() + content)
    with pytest.raises(Damaged, match="no control file"):
        read_control(tmp_path / "a.deb")


def pin(name: str, sha256: str, version: str = "1:2") -> Pin:
    return Pin(
        name=name, architecture="all", version=version, size=3, sha256=sha256, archive="", path="x"
    )


def test_the_control_data_is_kept_and_must_be_the_pinned_packages(tmp_path: Path) -> None:
    make_deb(tmp_path / f"{'a' * 64}.deb", "none")
    assert read_stanza(tmp_path, pin("a", "a" * 64)).name == "a"
    (tmp_path / f"{'a' * 64}.deb").unlink()
    assert read_stanza(tmp_path, pin("a", "a" * 64)).version == "1:2"
    with pytest.raises(Damaged, match=r"is a 1:2 \(all\), but the lock pins a 3 \(all\)"):
        read_stanza(tmp_path, pin("a", "a" * 64, "3"))


def test_an_archive_lists_packages_in_one_order() -> None:
    entries = [(pin("b", "b" * 64), stanza("b")), (pin("a", "a" * 64), stanza("a"))]
    text = format_packages(entries)
    assert text == format_packages(reversed(entries))
    assert text.index("Package: a") < text.index("Package: b")
    assert f"Filename: debs/{'a' * 64}.deb\nSize: 3\nSHA256: {'a' * 64}\n" in text


def test_the_last_package_of_an_archive_ends_with_an_empty_line(tmp_path: Path) -> None:
    write_archive(tmp_path, [(pin("a", "a" * 64), stanza("a"))])
    content = (tmp_path / "Packages").read_bytes()
    assert content.endswith(b"\n\n")
    assert f" {len(content)} Packages\n" in (tmp_path / "Release").read_text()
