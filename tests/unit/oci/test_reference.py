from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import UsageError
from atoll.base.ids import BlobDigest
from atoll.oci.reference import (
    ArchiveReference,
    LayoutReference,
    Reference,
    RegistryReference,
    StoreReference,
    format_reference,
    parse_reference,
)

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:out", LayoutReference(directory="out")),
        ("oci:out:1.2", LayoutReference(directory="out", tag="1.2")),
        ("oci:/a:b/c", LayoutReference(directory="/a:b/c")),
        ("oci:/a:b/c:d", LayoutReference(directory="/a:b/c", tag="d")),
        ("oci-archive:x.tar", ArchiveReference(file="x.tar")),
        ("oci-archive:x.tar:t", ArchiveReference(file="x.tar", tag="t")),
        ("store:hello", StoreReference(name="hello")),
        (
            "docker://r.example/a/b:1",
            RegistryReference(host="r.example", repository="a/b", tag="1"),
        ),
        ("r.example:5000/a", RegistryReference(host="r.example:5000", repository="a")),
        ("localhost/a:t", RegistryReference(host="localhost", repository="a", tag="t")),
        ("localhost:5000/a", RegistryReference(host="localhost:5000", repository="a")),
        ("docker://[::1]:5000/a", RegistryReference(host="[::1]:5000", repository="a")),
        (
            f"docker://r.example/a:t@{DIGEST}",
            RegistryReference(host="r.example", repository="a", tag="t", digest=BlobDigest(DIGEST)),
        ),
    ],
)
def test_forms(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert parse_reference(format_reference(expected)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci:",
        "oci::t",
        "oci:dir:-t",
        "store:",
        "-oci:x",
        "oci:a\nb",
        "http://r.example/a",
        "debian",
        "debian:trixie",
        "library/debian",
        "docker://",
        "docker://r.example",
        "docker://r.example/",
        "docker://r.example/UPPER",
        "docker://r.example/a:",
        "r.example/a@x",
        "docker://r.example/../a",
        f"docker://r.example/a@md5:{'a' * 64}",
    ],
)
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert caught.value.hint


@given(st.text())
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        reference = parse_reference(text)
    except UsageError:
        return
    assert parse_reference(format_reference(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "docker://ann:hunter2@r.example/a:1",
        "ann:hunter2@r.example/a",
        "https://ann:hunter2@r.example/a",
    ],
)
def test_a_password_in_a_reference_is_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_reference(text)
    assert "hunter2" not in caught.value.message + str(caught.value.hint)
    assert "auth.json" in str(caught.value.hint)
