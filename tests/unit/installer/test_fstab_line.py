"""The line of /etc/fstab for a file system that is mounted at /home."""

from __future__ import annotations

import pytest

from atoll.installer.apply.machine_operations import with_fstab_line

LINE = "UUID=12 /home ext4 defaults 0 2\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"# none\n", b"# none\n"),
        (b"tmpfs /tmp tmpfs defaults 0 0", b"tmpfs /tmp tmpfs defaults 0 0\n"),
        (b"LABEL=old /home xfs defaults 0 2\n/dev/x /srv ext4\n", b"/dev/x /srv ext4\n"),
        (b"\xff /a b\n\n", b"\xff /a b\n\n"),
    ],
)
def test_it_is_a_line_of_its_own_and_the_only_one_for_its_place(
    before: bytes, after: bytes
) -> None:
    assert with_fstab_line(before, LINE) == after + LINE.encode()
