"""Images in OCI archives: reading in place, pulling, and refusing other files."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from atoll.base.errors import AtollError, Damaged, NotFound, Refused, UsageError
from atoll.base.report import NullReporter
from atoll.oci.pull import pull_image
from atoll.oci.reference import ArchiveReference
from atoll.oci.source import inspect_source, opened_source
from atoll.store.layout import open_store
from tests.images import MadeImage, publish

FILES = {"/usr/bash/bin": b"b" * 5000, "/usr/nano/bin": b"n" * 300}


def pack(made: MadeImage, archive: Path, *, prefix: str = "", mode: str = "w") -> ArchiveReference:
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        for path in sorted(Path(made.layout.directory).rglob("*")):
            tar.add(path, prefix + str(path.relative_to(made.layout.directory)), recursive=False)
    return ArchiveReference(file=str(archive))


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("contents", [True, False])
def test_an_archive_is_pulled(tmp_path: Path, prefix: str, contents: bool) -> None:
    made = publish(tmp_path, FILES, contents=contents)
    reference = pack(made, tmp_path / "one.tar", prefix=prefix)
    store = open_store(tmp_path / "store", create=True)
    with opened_source(reference) as source:
        assert inspect_source(source).record.tree == made.tree
        pull_image(source, store, NullReporter())
    assert store.image_path(made.tree).exists()


def test_of_several_images_one_has_to_be_named(tmp_path: Path) -> None:
    publish(tmp_path, FILES, tag="one")
    made = publish(tmp_path, FILES, tag="two", version="2")
    archive = pack(made, tmp_path / "both.tar").file
    with opened_source(ArchiveReference(file=archive, tag="two")) as source:
        assert inspect_source(source).record.config.version == "2"
    for tag, error in ((None, UsageError), ("three", NotFound)):
        with (
            opened_source(ArchiveReference(file=archive, tag=tag)) as source,
            pytest.raises(error) as caught,
        ):
            inspect_source(source)
        assert "one, two" in (caught.value.hint or "")


def test_what_is_no_archive(tmp_path: Path) -> None:
    made = publish(tmp_path, FILES)
    (tmp_path / "text").write_text("no archive " * 100)
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(tmp_path / "text", "text")
    wrong: list[tuple[ArchiveReference, type[AtollError]]] = [
        (ArchiveReference(file=str(tmp_path / "nothing")), NotFound),
        (ArchiveReference(file=str(tmp_path)), Refused),
        (ArchiveReference(file=str(tmp_path / "text")), Refused),
        (ArchiveReference(file=str(tmp_path / "other.tar")), Refused),
        (pack(made, tmp_path / "packed.tar.gz", mode="w:gz"), Refused),
    ]
    for reference, error in wrong:
        with pytest.raises(error) as caught, opened_source(reference):
            pass
        assert caught.value.message


def test_a_damaged_archive_is_noticed(tmp_path: Path) -> None:
    made = publish(tmp_path, FILES)
    path = Path(made.layout.directory) / "blobs/sha256"
    whole = pack(made, tmp_path / "whole.tar")
    for blob in path.iterdir():
        if blob.name == made.digest.removeprefix("sha256:"):
            continue
        blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    broken = pack(made, tmp_path / "broken.tar")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(Path(whole.file).read_bytes()[:2000])
    for reference in (broken, ArchiveReference(file=str(cut))):
        store = open_store(tmp_path / f"store-{Path(reference.file).stem}", create=True)
        with pytest.raises((Damaged, Refused)), opened_source(reference) as source:
            pull_image(source, store, NullReporter())
        assert not list(store.images.iterdir())
