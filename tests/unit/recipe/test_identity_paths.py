"""A recipe cannot write a machine's identity: it is refused before anything is built."""

from __future__ import annotations

import pytest

from atoll.recipe.language.check_paths import check_file_path
from atoll.tree.identities import IDENTITIES, find_identity

RECORD_PATHS = [
    "/etc/" + pattern.replace("*", "ed25519_key") for one in IDENTITIES for pattern in one.etc
]


@pytest.mark.parametrize(
    "path", [*RECORD_PATHS, "/etc/machine-id", "/etc/ssh/ssh_host_rsa_key.pub"]
)
def test_no_file_is_at_the_path_of_an_identity(path: str) -> None:
    flaw = check_file_path(path)
    assert flaw is not None and flaw.hint is not None
    assert "machine" in flaw.message + flaw.hint or flaw.hint == "leave it out"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/munge/other.key",
        "/etc/ssh/ssh_config.d/host",
        "/etc/ssh/ssh_host_keys/x",
        "/etc/munge/munge.key.d/a",
        "/usr/share/munge/munge.key",
    ],
)
def test_what_lies_beside_an_identity_is_as_other_files(path: str) -> None:
    assert check_file_path(path) is None
    assert find_identity(path) is None
