"""The result of ``build --verify`` as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from atoll.base.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.builder.explain_diff import PathDifference
    from atoll.builder.verify import Verification

SHOWN = 20
"""How many paths the text lists; the JSON has them all."""


def verification_as_json(found: Verification) -> dict[str, object]:
    return {
        "identical": found.identical,
        "first": asdict(found.first),
        "second": asdict(found.second),
        "changed": list(found.changed),
        "same": list(found.same),
        "differences": [asdict(each) for each in found.differences],
    }


def format_verification(found: Verification) -> str:
    return "\n".join(_lines(found))


def _lines(found: Verification) -> Iterator[str]:
    first, second = found.first, found.second
    if found.identical:
        yield f"identical: tree {first.tree}"
        yield f"           {len(first.layers)} layers, manifest {first.manifest}"
    else:
        yield "NOT identical"
        yield f"  tree      {first.tree}, then {second.tree}"
        yield f"  manifest  {first.manifest}, then {second.manifest}"
        yield from _differences(found)
    yield f"varied in the second build: {', '.join(found.changed)}"
    yield from (f"not varied: {each}" for each in found.same)


def _differences(found: Verification) -> Iterator[str]:
    if not found.differences:
        layers = sorted(set(found.first.layers) ^ set(found.second.layers))
        yield f"  the trees are identical; {len(layers)} layers or the manifest differ"
    for each in found.differences[:SHOWN]:
        yield from _difference(each)
    if len(found.differences) > SHOWN:
        yield f"  … and {len(found.differences) - SHOWN} more; --json has them all"


def _difference(each: PathDifference) -> Iterator[str]:
    what = ", ".join(each.aspects) or each.kind
    yield f"  {one_line(each.path)}  ({what})"
    yield from (f"      {one_line(line)}" for line in each.details)
