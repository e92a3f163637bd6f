"""Sources of packages: suites of repositories, as values and as apt's deb822 text.

This code names no mirror: if the recipe has none, mmdebstrap chooses it, or on a machine without
mmdebstrap apt's own configuration for Debian.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.debian.deb822 import parse_fields, split_paragraphs
from atoll.host.fs import temporary_directory
from atoll.host.run import find_program, require_program, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSource:
    """One suite of one repository. ``name`` identifies it in the lock.

    ``architectures`` is empty for all. ``key`` is a file with the only keys to trust; None for
    those of the machine's apt. ``priority`` is apt's pin priority. ``dated``: a snapshot of the
    past, whose Release file may have expired. ``repository``: the recipe's name of the repository,
    None for the Debian archive of its base.
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
    """The text of a deb822 sources file (sources.list(5))."""
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
    suite: str, components: Sequence[str], architecture: str, directory: Path
) -> tuple[AptSource, ...]:
    """The sources that mmdebstrap would use for a suite on this machine; downloads nothing.

    Without mmdebstrap they are those of this machine, if it has this suite: machines of Atoll do
    not carry mmdebstrap. ``directory`` is for temporary files. Raises MissingProgram.
    """
    if find_program("mmdebstrap") is None:
        own = read_own_sources(suite, components)
        if own:
            return own
    require_program("mmdebstrap", package="mmdebstrap")
    with temporary_directory(directory, prefix=".new-") as temporary:
        temporary.chmod(0o755)
        sources_list = temporary / "sources.list"
        # check/chrootless is skipped: it refuses root, as packages' scripts could harm the machine,
        # but no package is installed here.
        run(
            [
                "mmdebstrap",
                "--mode=chrootless",
                "--variant=custom",
                "--skip=update,cleanup,check/chrootless,check/signed-by",
                f'--setup-hook=cp "$1/etc/apt/sources.list" {sources_list}',
                f"--components={','.join(components)}",
                f"--architectures={architecture}",
                suite,
                temporary / "root",
            ]
        )
        return parse_sources_list(sources_list.read_text())


def read_own_sources(suite: str, components: Sequence[str]) -> tuple[AptSource, ...]:
    """Where this machine's apt has ``suite``, its updates and security from; empty if it has
    another suite. Only apt's main list and ``debian.sources`` count: other archives have suites of
    the same names."""
    if find_program("apt-config") is None:
        return ()
    names = ("Dir::Etc::sourcelist/f", "Dir::Etc::sourceparts/d")
    words = [word for pair in zip(("main", "parts"), names, strict=True) for word in pair]
    output = run(["apt-config", "shell", *words]).decode(errors="replace")
    found = dict(line.partition("=")[::2] for line in output.splitlines())
    main, parts = (Path(found.get(name, "").strip("'")) for name in ("main", "parts"))
    return choose_own_sources(
        (
            *parse_sources_list(_read_text(main)),
            *parse_deb822_sources(_read_text(parts / "debian.sources")),
        ),
        suite,
        components,
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def parse_deb822_sources(text: str) -> tuple[AptSource, ...]:
    """The binary sources of a deb822 file, one for each suite of an address; options are
    ignored. Pure."""
    found = []
    for paragraph in split_paragraphs(text):
        fields = parse_fields(paragraph)
        if "deb" in fields.get("types", "").split() and fields.get("enabled") != "no":
            found += [
                AptSource(
                    name=suite,
                    uri=uri.rstrip("/"),
                    suite=suite,
                    components=tuple(fields.get("components", "").split()),
                )
                for uri in fields.get("uris", "").split()
                for suite in fields.get("suites", "").split()
            ]
    return tuple(found)


def choose_own_sources(
    sources: Iterable[AptSource], suite: str, components: Sequence[str]
) -> tuple[AptSource, ...]:
    """The first source of ``suite``, of its updates and of its security, with ``components``; none
    where ``suite`` itself is not among them. Pure."""
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    found: dict[str, AptSource] = {}
    for source in sources:
        if source.suite in wanted:
            found.setdefault(source.suite, replace(source, components=tuple(components)))
    return tuple(found.values()) if suite in found else ()


def parse_sources_list(text: str) -> tuple[AptSource, ...]:
    """The ``deb`` lines of a sources.list; their options are ignored."""
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
    """Debian's name of this machine's architecture (``amd64``)."""
    require_program("dpkg", package="dpkg")
    return run(["dpkg", "--print-architecture"]).decode().strip()


def parse_release_date(text: str) -> int:
    """The Date of a Release file, in seconds since 1970. Raises Damaged."""
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
