"""What people are told about an update: a line at login, and a notification on desktops.

::

    /run/atoll/update.json        {"format": 1, "what": "staged", "title": "hello 2", "tree": "…"}
    /run/atoll/update-notice      two lines: a title, and what to do; for the desktop
    /run/motd.d/60-atoll-update   the same, for the login

An automatic update writes them. They are removed when they no longer hold: the version was staged
by somebody, or what was staged no longer boots next.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.base.text import one_line
from atoll.host.fs import make_directory, read_if_there, replace_file

if TYPE_CHECKING:
    from atoll.machine.deployments.state import MachineState

FORMAT = 1
RUN = Path("/run")
RECORD = Path("atoll/update.json")
NOTICE = Path("atoll/update-notice")
MOTD = Path("motd.d/60-atoll-update")


class UpdateStage(StrEnum):
    """How far a new version has come."""

    AVAILABLE = "available"
    DOWNLOADED = "downloaded"
    STAGED = "staged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A new version, such as ``hello 2``, with the digest of its tree."""

    what: UpdateStage
    title: str
    tree: str

    @property
    def summary(self) -> str:
        word = "ready" if self.what is UpdateStage.STAGED else self.what.value
        return one_line(f"{self.title} is {word}")

    @property
    def advice(self) -> str:
        if self.what is UpdateStage.STAGED:
            return "It starts with the next reboot. What it brings: sudo atoll plan"
        return "What it brings: atoll plan. To install it: sudo atoll upgrade, then one reboot"


def write_announcement(announcement: Announcement, *, run: Path = RUN) -> None:
    """Files that already say the same are not touched: each change notifies desktops."""
    document = {
        "format": FORMAT,
        "what": announcement.what.value,
        "title": announcement.title,
        "tree": announcement.tree,
    }
    text = f"{announcement.summary}\n{announcement.advice}\n"
    login = f"{announcement.summary}.\n  {announcement.advice}\n"
    files = {RECORD: json.dumps(document) + "\n", MOTD: login, NOTICE: text}
    for path, content in files.items():
        if read_if_there(run / path) != content.encode():
            make_directory((run / path).parent)
            replace_file(run / path, content.encode())


def read_announcement(*, run: Path = RUN) -> Announcement | None:
    """None if nothing is announced. Raises Damaged."""
    data = read_if_there(run / RECORD)
    if data is None:
        return None
    fields = parse_json_fields(data, file=str(run / RECORD))
    fields.require_format(FORMAT)
    try:
        what = UpdateStage(fields.string("what"))
    except ValueError:
        raise Damaged(f"{run / RECORD} says nothing about an update") from None
    return Announcement(what=what, title=fields.string("title"), tree=fields.string("tree"))


def drop_announcement(*, run: Path = RUN) -> None:
    for path in (NOTICE, MOTD, RECORD):
        (run / path).unlink(missing_ok=True)


def drop_stale_announcement(state: MachineState, *, run: Path = RUN) -> None:
    """Remove what no longer holds of the machine ``state``."""
    try:
        found = read_announcement(run=run)
    except Damaged:
        drop_announcement(run=run)
        return
    if found is None:
        return
    default = state.default
    boots_next = default is not None and default.deployment.tree == found.tree
    if boots_next != (found.what is UpdateStage.STAGED):
        drop_announcement(run=run)
