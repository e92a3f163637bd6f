"""Units that were enabled, disabled or masked, as words of ``[units]``.

``[units] enable`` makes the links that the ``[Install]`` section of the unit asks for
(systemd.unit(5)), as ``systemctl enable`` does. Where the machine has other links, each of them
becomes a ``[[file]]``.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atoll.builder.steps.unit_links import template_of
from atoll.layering.adopt_files import adopt_file
from atoll.layering.adoption import AdoptedRow, AdoptedWord, Findings, LeftOut
from atoll.machine.drift.model import UnitChange
from atoll.machine.drift.unit_drift import find_links
from atoll.machine.etc.etc_tree import is_file, node_at
from atoll.recipe.language.check_values import check_unit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.layering.adopt_files import AccountNames
    from atoll.machine.drift.etc_drift import EtcPair
    from atoll.machine.drift.model import UnitDrift
    from atoll.machine.drift.tree_files import TreeFiles

_SETTING = re.compile(r"([A-Za-z]+)[ \t]*=[ \t]*(.*)")
_DIRECTORIES = {"WantedBy": "wants", "RequiredBy": "requires", "UpheldBy": "upholds"}
VERBS = ("enable", "disable", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """The ``[Install]`` section of a unit."""

    links: frozenset[str] = frozenset()
    """Relative to ``/etc``."""
    also: tuple[str, ...] = field(default=())


def adopt_units(
    units: Iterable[UnitDrift], pair: EtcPair, tree: TreeFiles, accounts: AccountNames
) -> Findings:
    words: list[AdoptedWord] = []
    rows: list[AdoptedRow] = []
    left: list[LeftOut] = []
    for unit in units:
        found = list(_adopt_unit(unit, pair, tree, accounts))
        flaw = check_unit(unit.unit)
        if flaw is not None and any(isinstance(each, AdoptedWord) for each in found):
            left.append(LeftOut(name=unit.unit, why=flaw.message))
            continue
        words += [each for each in found if isinstance(each, AdoptedWord)]
        rows += [each for each in found if isinstance(each, AdoptedRow)]
        left += [each for each in found if isinstance(each, LeftOut)]
    return Findings(rows=tuple(rows), words=tuple(words), left=tuple(left))


def _adopt_unit(
    unit: UnitDrift, pair: EtcPair, tree: TreeFiles, accounts: AccountNames
) -> Iterator[AdoptedWord | AdoptedRow | LeftOut]:
    verbs = {
        UnitChange.ENABLED: "enable",
        UnitChange.DISABLED: "disable",
        UnitChange.MASKED: "mask",
    }
    verb = verbs.get(unit.change)
    if verb == "enable":
        install = read_install(unit.manager, unit.unit, pair, tree)
        links = find_links(pair.live, unit.manager, unit.unit)
        if unit.added and all(path.startswith("rc") for path in unit.added):
            pass  # an init script
        elif install is None or install.links != links:
            verb = None
        else:
            yield from _keep_disabled(unit, install, pair)
    if verb is not None:
        yield _word(unit.manager, verb, unit.unit, name=unit.unit)
        return
    if unit.removed:
        why = "a recipe cannot remove single links of a unit that stays enabled, or only unmask it"
        yield LeftOut(name=unit.unit, why=why)
        return
    for path in unit.added:
        found = adopt_file(f"/etc/{path}", None, node_at(pair.live, path), accounts)
        if isinstance(found, AdoptedRow):
            yield AdoptedRow(name=unit.unit, table="file", values=found.values)
        else:
            yield LeftOut(name=unit.unit, why=f"{path}: {found.why}")


def _keep_disabled(unit: UnitDrift, install: Install, pair: EtcPair) -> Iterator[AdoptedWord]:
    """Units that ``Also=`` would enable, and that this machine has not enabled."""
    for other in install.also:
        if not find_links(pair.live, unit.manager, other):
            yield _word(unit.manager, "disable", other, name=unit.unit)


def _word(manager: str, verb: str, unit: str, *, name: str) -> AdoptedWord:
    place = ("units",) if manager == "system" else ("units", "user")
    others = tuple((*place, other) for other in VERBS if other != verb)
    return AdoptedWord(name=name, path=(*place, verb), word=unit, instead_of=others)


def read_install(manager: str, unit: str, pair: EtcPair, tree: TreeFiles) -> Install | None:
    """What enabling a unit does; None if its file is not found, or depends on more than itself."""
    for name in filter(None, (unit, template_of(unit))):
        node = node_at(pair.live, f"systemd/{manager}/{name}")
        if node is not None and is_file(node):
            return parse_install(node.entry.read().decode(errors="replace"), manager, unit)
        for place in ("usr/lib/systemd", "usr/share/systemd"):
            data = tree.read(f"{place}/{manager}/{name}")
            if data is not None:
                return parse_install(data.decode(errors="replace"), manager, unit)
    return None


def parse_install(text: str, manager: str, unit: str) -> Install | None:
    """None for a section with specifiers (``%i``), which depend on more than the text."""
    links: set[str] = set()
    also: list[str] = []
    section = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.startswith("["):
            section = line.strip()
        setting = _SETTING.fullmatch(line.strip())
        if section != "[Install]" or setting is None:
            continue
        key, words = setting[1], setting[2].split()
        if any("%" in word for word in words):
            return None
        top = f"systemd/{manager}"
        if key in _DIRECTORIES:
            links |= {f"{top}/{word}.{_DIRECTORIES[key]}/{unit}" for word in words}
        elif key == "Alias":
            links |= {posixpath.join(top, word) for word in words}
        elif key == "Also":
            also += words
    return Install(links=frozenset(links), also=tuple(also))
