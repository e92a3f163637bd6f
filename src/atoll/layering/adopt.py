"""Take over what differs on a machine into its machine file. Pure, but for reading contents.

``drift --adopt`` says with the words of the recipe language what somebody did by hand, so that it
is part of the machine's recipe from then on: kept for a reinstallation, published, explained.
Making the file real (``atoll apply``) changes nothing, for the machine is so already.

Secrets are left out unless they are named: contents that not everyone on the machine may read,
private keys, and hashes of passwords.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import tomlkit

from atoll.base.errors import NotFound, NothingToDo, RecipeError
from atoll.base.fields import find_near
from atoll.layering.adopt_accounts import adopt_accounts
from atoll.layering.adopt_files import AccountNames, adopt_files
from atoll.layering.adopt_units import adopt_units
from atoll.layering.adoption import (
    KERNEL,
    AdoptedRow,
    AdoptedWord,
    Adoption,
    Findings,
    LeftOut,
)
from atoll.layering.edit_machine_file import NEW, drop_words, parse_document, put_word
from atoll.layering.edit_rows import put_row
from atoll.machine.drift.account_drift import read_accounts_of
from atoll.machine.drift.kernel_drift import THIS_BOOT
from atoll.machine.machine_file import FILE, PLACE
from atoll.recipe.language.parse import parse_machine_recipe
from atoll.tree.cmdline import find_reserved, is_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from atoll.machine.drift.etc_drift import EtcPair
    from atoll.machine.drift.model import Drift
    from atoll.machine.drift.tree_files import TreeFiles

_FOLDER = PLACE.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """What was read of a machine: what differs, and what is needed to say it in a recipe. ``text``
    is the machine file, empty without one."""

    drift: Drift
    pair: EtcPair
    tree: TreeFiles
    text: str


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The names that a person gave; without any, everything but secrets is meant."""

    names: tuple[str, ...]

    def has(self, name: str) -> bool:
        return not self.names or self.is_named(name)

    def concerns(self, name: str) -> bool:
        """Whether something left out belongs to what was chosen: a password to its account."""
        kind, _, account = name.partition(":")
        return self.has(name) or (kind == "password" and self.has(f"user:{account}"))

    def is_named(self, name: str) -> bool:
        return any(name == each or name.startswith(f"{each}/") for each in self.names)


def plan_adoption(view: MachineView, names: Iterable[str] = ()) -> Adoption:
    """What the machine file becomes. ``names`` are paths (a directory stands for all in it), units,
    ``user:NAME``, ``group:NAME``, ``password:NAME`` or ``kernel``; none means everything.

    Raises NotFound for a name that does not differ, NothingToDo, or RecipeError where the file is
    not valid.
    """
    chosen = _Chosen(tuple(name.rstrip("/") or name for name in names))
    found = _find_all(view, chosen)
    _check_names(chosen, found)
    rows = [
        each for each in found.rows if chosen.has(each.name) or _has_chosen_password(each, chosen)
    ]
    words = [each for each in found.words if chosen.has(each.name)]
    left = [each for each in found.left if chosen.concerns(each.name)]
    rows, invalid = keep_valid(rows)
    left += invalid
    text, adopted = _edit(view.text, rows, words)
    if not adopted:
        whys = "; ".join(f"{each.name}: {each.why}" for each in left[:3])
        raise NothingToDo(f"nothing to adopt{': ' if whys else ''}{whys}")
    parse_machine_recipe(text, file=FILE)
    sources = {
        f"{_FOLDER}/{each.values['source']}": each for each in rows if each.source is not None
    }
    private = {path for path, each in sources.items() if each.private}
    if any("password" in each.values for each in rows):
        private.add(PLACE)
    return Adoption(
        text=text,
        files={path: each.source or b"" for path, each in sources.items()},
        private=frozenset(private),
        adopted=tuple(dict.fromkeys(adopted)),
        left=tuple(left),
    )


def _has_chosen_password(row: AdoptedRow, chosen: _Chosen) -> bool:
    return "password" in row.values and chosen.is_named(f"password:{row.values['name']}")


def _find_all(view: MachineView, chosen: _Chosen) -> Findings:
    drift, pair = view.drift, view.pair
    live = read_accounts_of(pair.live)
    accounts = adopt_accounts(drift.accounts, live, chosen.is_named)
    before = read_accounts_of(pair.tree)
    known_users = {*before.users, *(row.values["name"] for row in accounts.rows)}
    known_groups = {*before.groups, *(row.values["name"] for row in accounts.rows)}
    names = AccountNames(
        users={row.uid: row.name for row in live.users.values() if row.name in known_users},
        groups={row.gid: row.name for row in live.groups.values() if row.name in known_groups},
    )
    files = adopt_files(drift.etc, pair, names, chosen.is_named)
    units = adopt_units(drift.units, pair, view.tree, names)
    parts = (accounts, files, units, _adopt_kernel(drift), Findings(left=tuple(_others(drift))))
    return Findings(
        rows=tuple(row for part in parts for row in part.rows),
        words=tuple(word for part in parts for word in part.words),
        left=tuple(each for part in parts for each in part.left),
    )


def _adopt_kernel(drift: Drift) -> Findings:
    words: list[AdoptedWord] = []
    left: list[LeftOut] = []
    args, remove = ("kernel", "args"), ("kernel", "remove_args")
    entries = [each for each in drift.kernel if each.where != THIS_BOOT]
    for each in entries:
        for verb, other, arguments in ((args, remove, each.added), (remove, args, each.removed)):
            for word in arguments:
                if find_reserved(word) or not is_argument(word):
                    why = f"{word}: it selects what boots, which only Atoll sets"
                    left.append(LeftOut(name=KERNEL, why=why))
                    continue
                words.append(AdoptedWord(name=KERNEL, path=verb, word=word, instead_of=(other,)))
        if each.reordered:
            left.append(LeftOut(name=KERNEL, why="a recipe cannot reorder arguments of its base"))
    if not entries and drift.kernel:
        left.append(LeftOut(name=KERNEL, why="typed in the boot menu, for this boot only"))
    return Findings(words=tuple(words), left=tuple(left))


def _others(drift: Drift) -> Iterator[LeftOut]:
    for each in drift.local:
        why = "it belongs to the machine, and stays through upgrades as it is"
        yield LeftOut(name=each.path, why=why)
    if drift.scratch:
        yield LeftOut(name="/usr", why="it is gone after the next boot")


def _check_names(chosen: _Chosen, found: Findings) -> None:
    """Raises NotFound for a name that is not among what differs."""
    known = {
        *(each.name for each in found.rows),
        *(each.name for each in found.words),
        *(each.name for each in found.left),
    }
    known |= {f"password:{each.name[5:]}" for each in found.rows if "password" in each.values}
    for name in chosen.names:
        if name not in known and not any(each.startswith(f"{name}/") for each in known):
            hint = find_near(name, known) or "see: atoll drift"
            raise NotFound(f"{name} does not differ from the image", hint=hint)


def keep_valid(rows: Iterable[AdoptedRow]) -> tuple[list[AdoptedRow], list[LeftOut]]:
    """The rows that the recipe language takes, each judged alone."""
    kept: list[AdoptedRow] = []
    left: list[LeftOut] = []
    for row in rows:
        document = tomlkit.parse("schema = 1\n")
        put_row(document, row.table, row.key, row.values)
        try:
            parse_machine_recipe(tomlkit.dumps(document), file="")
        except RecipeError as error:
            left.append(LeftOut(name=row.name, why=error.message))
            continue
        kept.append(row)
    return kept, left


def _edit(
    text: str, rows: Iterable[AdoptedRow], words: Iterable[AdoptedWord]
) -> tuple[str, list[str]]:
    """The new text, and the names of what was put into it."""
    document = parse_document(text or NEW)
    adopted = []
    for word in words:
        # First put, then drop: a table that gets empty in between would lose its comments.
        put_word(document, word.path, word.word, key=str)
        for path in word.instead_of:
            drop_words(document, path, partial(str.__eq__, word.word))
        adopted.append(word.name)
    for row in rows:
        put_row(document, row.table, row.key, row.values)
        adopted.append(row.name)
    return tomlkit.dumps(document), adopted
