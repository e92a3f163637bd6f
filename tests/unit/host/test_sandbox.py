"""What a room is made of, as the shell text that sets it up."""

from __future__ import annotations

from pathlib import Path

from atoll.host.mount import Overlay
from atoll.host.sandbox import Bind, format_room


def test_a_room_makes_no_device() -> None:
    """A user namespace may not; the machine's own are bound instead."""
    text = format_room(Path("/some/root"), [])
    assert "mknod" not in text
    assert "mount --bind /dev/null dev/null" in text


def test_a_bind_that_may_not_be_written_is_made_read_only() -> None:
    bind = Bind(source=Path("/no such/place"), target="/run/there")
    lines = format_room(Path("/some/root"), [bind]).splitlines()
    at = lines.index("mount --bind '/no such/place' ./run/there")
    assert lines[at + 1] == "mount -o remount,bind,ro ./run/there"


def test_an_overlay_follows_no_redirect_and_marks_as_it_may() -> None:
    overlay = Overlay(base=Path("/cache"), lowers=("b", "a"), upper="u", work="w")
    trusted = "lowerdir=b:a,upperdir=u,workdir=w,redirect_dir=nofollow,metacopy=off,index=off"
    assert overlay.options() == trusted
    assert overlay.options(marks="user") == f"{trusted},userxattr"
