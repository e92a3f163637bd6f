"""Our images against the composefs programs and fsck.erofs, on random trees."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, reject, settings

from atoll.tree.compare import compare
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.erofs_reader import parse_image
from atoll.tree.erofs_writer import default_version, format_image
from tests.programs.composefs_judge import Judge, NoJudge, find_judge
from tests.unit.tree.trees import trees

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.tree.model import Directory

SETTINGS = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def judge() -> Judge:
    try:
        return find_judge()
    except NoJudge as reason:
        pytest.skip(str(reason))


@SETTINGS
@given(tree=trees())
def test_images_have_the_bytes_of_mkcomposefs(judge: Judge, tree: Directory) -> None:
    dump = format_dump(tree)
    for version in (0, 1, None):
        ours = format_image(tree, version=default_version(tree) if version is None else version)
        try:
            theirs = judge.make_image(dump, version=version)
        except subprocess.CalledProcessError as error:
            # its space for attributes is counted wrongly when it replaces one that was given
            assert b"Numerical result out of range" in error.stderr
            reject()
        assert ours == theirs


@SETTINGS
@given(tree=trees())
def test_composefs_info_reads_what_we_read(judge: Judge, tmp_path: Path, tree: Directory) -> None:
    image = format_image(_readable(tree), version=1)
    (tmp_path / "image").write_bytes(image)
    theirs = parse_dump(MARKS.sub(b"", judge.dump(tmp_path / "image")))
    ours = parse_dump(MARKS.sub(b"", format_dump(parse_image(image))))
    assert compare(ours, theirs) == ()


MARKS = re.compile(rb" (user\.overlay\.|trusted\.overlay\.opaque)\S*")
"""Attributes that composefs-info always or never takes for the image's own."""


def _readable(tree: Directory) -> Directory:
    """The tree without what composefs-info 1.0.8 misreads.

    It reads a redirect with two bytes of what follows, and loses a last attribute of four bytes.
    """
    dump = re.sub(rb" (a/place|/absolute) ", b" - ", format_dump(tree))
    return parse_dump(re.sub(rb"(?m) system\.posix_acl_\w+=(?= |$)", b"", dump))


@SETTINGS
@given(tree=trees())
def test_fsck_accepts_our_images(tmp_path: Path, tree: Directory) -> None:
    fsck = shutil.which("fsck.erofs")
    if fsck is None:
        pytest.skip("fsck.erofs is not here")
    (tmp_path / "image").write_bytes(format_image(tree))
    subprocess.run([fsck, str(tmp_path / "image")], capture_output=True, check=True)
