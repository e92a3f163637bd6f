"""Records of counted boot attempts, written by early boot and by what failed later.

::

    atoll/state/tries/<deployment>/1-started    the entry's file name; its mtime is the start
    atoll/state/tries/<deployment>/1-failed     why this boot failed, if it could record it
    atoll/state/tries/<deployment>/verdict      the conclusion, once another deployment runs

A boot that did not reach early boot leaves no record. All records are removed when the deployment
is blessed. For ``decide_verdict`` a recorded failure, a panic in pstore, or an entry of which every
attempt ended before early boot is evidence against the deployment. Boots that just ended are not:
the power may have failed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.fields import parse_json_fields
from atoll.host.fs import list_names, read_if_there, read_regular
from atoll.machine.boot.boot_entry import EntryName, parse_entry_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.health.pstore import Panic

FORMAT = 1
REASON_LENGTH = 1000
NOTE_LIMIT = 1 << 20
"""Bytes of a note; early boot writes some hundred."""
DISABLED_TRIES_USED = 1
"""The tries used in the name of an entry that Atoll disabled itself: ``+0-1``. An entry that the
loader used up has more, for it starts with three."""
_NAME = re.compile(r"([1-9][0-9]{0,8})-(started|failed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptNote:
    """A file in the directory of a deployment's attempts; ``when`` is its mtime, in seconds."""

    text: str
    when: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BootAttempt:
    """One counted boot that got as far as early boot."""

    number: int
    entry: EntryName | None = None
    started: int = 0
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BootVerdict:
    """The conclusion about the entry with sequence number ``entry``, which has no tries left.
    ``evidence``: something proves that the deployment itself is at fault."""

    entry: int
    evidence: bool
    why: str


def parse_attempts(notes: Mapping[str, AttemptNote]) -> tuple[BootAttempt, ...]:
    """The attempts that files with these names record, in order; other files are ignored."""
    found: dict[int, dict[str, AttemptNote]] = {}
    for name, note in notes.items():
        words = _NAME.fullmatch(name)
        if words is not None:
            found.setdefault(int(words[1]), {})[words[2]] = note
    return tuple(_parse_attempt(number, found[number]) for number in sorted(found))


def _parse_attempt(number: int, notes: Mapping[str, AttemptNote]) -> BootAttempt:
    started, failed = notes.get("started"), notes.get("failed")
    return BootAttempt(
        number=number,
        entry=None if started is None else parse_entry_name(started.text.strip()),
        started=0 if started is None else started.when,
        failure=None if failed is None else readable(failed.text) or "it did not say why",
    )


def readable(text: str) -> str:
    """``text`` on one line, without control characters, and at a limited length."""
    words = "".join(letter if letter.isprintable() else " " for letter in text).split()
    line = " ".join(words)
    return line if len(line) <= REASON_LENGTH else f"{line[: REASON_LENGTH - 1]}…"


def decide_verdict(
    entry: EntryName, attempts: Iterable[BootAttempt], panics: Iterable[Panic], *, staged: int
) -> BootVerdict:
    """Why ``entry``, which has no tries left, failed. ``staged`` is when its deployment was
    created, in seconds since 1970: older panics belong to other deployments."""
    own = [each for each in attempts if each.entry and each.entry.sequence == entry.sequence]
    failures = [each.failure for each in own if each.failure]
    since = min((each.started for each in own), default=staged)
    panicked = [panic for panic in panics if panic.when >= since]
    if failures:
        evidence, why = True, failures[-1]
    elif panicked:
        evidence, why = True, f"its kernel panicked: {panicked[-1].message}"
    elif not own:
        evidence = True
        why = f"its kernel or initrd did not start in {entry.tries_used} boot attempts"
    else:
        evidence, why = (
            False,
            f"{len(own)} of {entry.tries_used} boot attempts ended without a recorded reason",
        )
    return BootVerdict(entry=entry.sequence, evidence=evidence, why=why)


def format_verdict(verdict: BootVerdict) -> bytes:
    document = {
        "format": FORMAT,
        "entry": verdict.entry,
        "evidence": verdict.evidence,
        "why": verdict.why,
    }
    return json.dumps(document, ensure_ascii=False).encode(errors="replace") + b"\n"


def parse_verdict(data: bytes) -> BootVerdict:
    """Raises Damaged."""
    fields = parse_json_fields(data, file="verdict")
    fields.require_format(FORMAT)
    return BootVerdict(
        entry=fields.integer("entry"),
        evidence=fields.boolean("evidence"),
        why=fields.string("why"),
    )


def attempts_directory(sysroot: Sysroot, deployment: int) -> Path:
    return sysroot.state / "tries" / str(deployment)


def read_attempts(sysroot: Sysroot, deployment: int) -> tuple[BootAttempt, ...]:
    """Raises OSError or Damaged: an unreadable file may be the record of an attempt or a
    failure."""
    folder = attempts_directory(sysroot, deployment)
    notes = {}
    for path in (folder / name for name in list_names(folder)):
        if _NAME.fullmatch(path.name) and path.is_file():
            notes[path.name] = AttemptNote(
                text=read_regular(path, limit=NOTE_LIMIT).decode(errors="replace"),
                when=int(path.stat().st_mtime),
            )
    return parse_attempts(notes)


def read_verdict(sysroot: Sysroot, deployment: int) -> BootVerdict | None:
    """None if there is none, or if it cannot be read: then it is decided again."""
    try:
        data = read_if_there(attempts_directory(sysroot, deployment) / "verdict")
        return None if data is None else parse_verdict(data)
    except (OSError, Damaged):
        return None
