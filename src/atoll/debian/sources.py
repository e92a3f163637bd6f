"""Where packages may come from: suites of repositories, as values and as apt's deb822 text.

No mirror is named in this code: without one in the recipe, mmdebstrap decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.debian.deb822 import parse_fields
from atoll.host.fs import temporary_directory
from atoll.host.run import require_program, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """One suite of one repository. ``name`` is the lock's word for it.

    ``architectures`` is empty where all are meant. ``key`` is a file with the only keys that are
    believed; None means those of the machine's apt. ``priority`` is apt's pin priority. ``dated``:
    it is a picture of the past, so its Release file may have expired. ``repository``: the
    recipe's name of the repository it is of, None for the Debian that it builds from.
    """

    name: str
    uri: str
    suite: str
    components: tuple[str, ...]
    architectures: tuple[str, ...] = ()
    key: Path | None = None
    priority: int | None = None
    dated: bool = False
    repository: str | None = None


def format_sources(sources: Iterable[AptSource]) -> str:
    """deb822 text for apt; one paragraph for each source."""
    return "\n".join(_format_source(source) for source in sources)


def _format_source(source: AptSource) -> str:
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {source.suite}"]
    if source.components:
        lines.append(f"Components: {' '.join(source.components)}")
    if source.architectures:
        lines.append(f"Architectures: {' '.join(source.architectures)}")
    if source.key is not None:
        lines.append(f"Signed-By: {source.key}")
    if source.dated:
        lines.append("Check-Valid-Until: no")
    return "".join(f"{line}\n" for line in lines)


def read_default_sources(
    suite: str, components: Sequence[str], architecture: str, place: Path
) -> tuple[AptSource, ...]:
    """What mmdebstrap would build a suite from on this machine. Nothing is fetched."""
    require_program("mmdebstrap", package="mmdebstrap")
    with temporary_directory(place, prefix=".new-") as temporary:
        temporary.chmod(0o755)
        listed = temporary / "sources.list"
        # That check refuses this to root for fear of packages' scripts, and none is installed here.
        run(
            [
                "mmdebstrap",
                "--mode=chrootless",
                "--variant=custom",
                "--skip=update,cleanup,check/chrootless,check/signed-by",
                f'--setup-hook=cp "$1/etc/apt/sources.list" {listed}',
                f"--components={','.join(components)}",
                f"--architectures={architecture}",
                suite,
                temporary / "root",
            ]
        )
        return parse_sources_list(listed.read_text())


def parse_sources_list(text: str) -> tuple[AptSource, ...]:
    """The ``deb`` lines of a sources.list; their options are not looked at."""
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        AptSource(
            name=match.group(2),
            uri=match.group(1).rstrip("/"),
            suite=match.group(2),
            components=tuple(match.group(3).split()),
        )
        for match in found
        if match
    )


def read_architecture() -> str:
    """What Debian calls this machine's kind of processor (``amd64``)."""
    require_program("dpkg", package="dpkg")
    return run(["dpkg", "--print-architecture"]).decode().strip()


def parse_release_date(text: str) -> int:
    """When a Release file was made, in seconds; raises Damaged."""
    value = parse_fields(text).get("date")
    if value is None:
        raise Damaged("a Release file has no date")
    try:
        found = int(parsedate_to_datetime(value).astimezone(UTC).timestamp())
    except (ValueError, OverflowError, TypeError) as error:
        raise Damaged(f"a Release file has an invalid date: {value[:100]!r}") from error
    if found < 0:
        raise Damaged(f"a Release file has an invalid date: {value[:100]!r}")
    return found
