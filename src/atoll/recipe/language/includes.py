"""A recipe's text and all that it includes, as fragments in the order in which they hold.

Included files come first, in order, each but once; then the file itself. Of what they say, first
comes what always holds, then the conditions that are true, then the chosen variant. Names of local
files in an included file are made relative to the folder of the recipe.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from atoll.base.errors import AtollError, RecipeError
from atoll.base.fields import Flaw, suggest, wrong_type
from atoll.base.toml import parse_toml
from atoll.recipe.language.check_policy import is_local, parse_condition
from atoll.recipe.language.diagnostics import Diagnostics, Location, RecipeText
from atoll.recipe.language.merge import Fragment, MergedTable, merge
from atoll.recipe.language.parse_tables import check_file
from atoll.recipe.language.schema import TOP
from atoll.recipe.model import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atoll.recipe.language.parse_tables import Checked
    from atoll.recipe.language.schema_model import KeyRule, TableRule

Load: TypeAlias = Callable[[str], str]
"""Reads the text of an included file, named relative to the recipe's folder; raises AtollError."""

_DEEPEST, _MOST = 20, 200
_AT_LINE = r" \(at (?:line (\d+), column \d+|end of document)\)$"


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class LoadedRecipe:
    """Everything that was read; ``sources`` has the recipe itself first."""

    sources: list[RecipeText] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    problems: Diagnostics = field(default_factory=Diagnostics)

    @property
    def top(self) -> Location:
        return Location(self.sources[0], ())

    @property
    def readable(self) -> bool:
        """Whether the recipe itself is TOML in this language."""
        places = (fragment.place for fragment in self.fragments)
        return any(place.source.number == 0 and not place.key for place in places)

    @property
    def variants(self) -> tuple[str, ...]:
        keys = (fragment.place.key for fragment in self.fragments)
        return tuple(dict.fromkeys(str(key[1]) for key in keys if key[:1] == ("variant",)))

    def merged(self, variant: str | None, architecture: str) -> MergedTable:
        always = [each for each in self.fragments if not each.place.key]
        chosen = [each for each in self.fragments if each.place.key == ("variant", variant)]
        conditions = [each for each in self.fragments if each.place.key[:1] == ("when",)]
        if conditions:
            asked = {
                "architecture": architecture,
                "variant": variant,
                "suite": self._suite([*always, *chosen]),
            }
            conditions = [each for each in conditions if _holds(each, asked)]
        return merge([*always, *conditions, *chosen], self.top, self.problems)

    def _suite(self, fragments: list[Fragment]) -> str | None:
        """The suite that conditions ask for: as it is without any of them."""
        merged = merge(fragments, self.top, Diagnostics())
        base = merged.text("from")
        if base.startswith("debian:"):
            return base.removeprefix("debian:")
        return merged.within("debian").maybe_text("suite")

    def check_conditions(self) -> None:
        for fragment in self.fragments:
            for name, value in _condition(fragment):
                if name == "variant" and value not in self.variants:
                    hint = suggest(value, self.variants) if self.variants else "there is none"
                    self.problems.add(fragment.place, Flaw(f"there is no variant {value}", hint))


def gather(text: str, *, file: str, load: Load | None = None) -> LoadedRecipe:
    """``load`` is None where nothing but ``text`` is known: including is then a problem."""
    gathered = LoadedRecipe()
    name = posixpath.basename(file)
    _read(gathered, RecipeText(name, file, text), load, (name,))
    gathered.check_conditions()
    return gathered


def _read(
    gathered: LoadedRecipe, source: RecipeText, load: Load | None, chain: tuple[str, ...]
) -> None:
    source.number = len(gathered.sources)
    gathered.sources.append(source)
    top = Location(source, ())
    try:
        table = parse_toml(source.text)
    except ValueError as error:
        gathered.problems.add_error(syntax_problem(error, source), number=source.number)
        return
    if not _check_schema(table, top, gathered.problems):
        return
    fragments = check_file(
        table, lambda key, flaw: gathered.problems.add(Location(source, key), flaw)
    )
    includes = fragments[0][1].get("include")
    for number, include in enumerate(includes if isinstance(includes, list) else ()):
        if include is not None:
            flaw = _include(gathered, include, load, chain)
            if flaw:
                gathered.problems.add(top.below("include", number), flaw)
    folder = posixpath.dirname(source.name)
    for key, checked in fragments:
        if folder:
            _move(TOP, checked, folder)
        gathered.fragments.append(Fragment(Location(source, key), checked))


def _include(
    gathered: LoadedRecipe, include: str, load: Load | None, chain: tuple[str, ...]
) -> Flaw | None:
    if load is None:
        return Flaw("cannot be followed: only this text is known")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(chain[-1]), include))
    if name in chain:
        circle = " includes ".join([*chain[chain.index(name) :], name])
        return Flaw("goes round in a circle", circle)
    if any(source.name == name for source in gathered.sources):
        return None
    if len(chain) > _DEEPEST or len(gathered.sources) > _MOST:
        return Flaw(f"includes more than {_MOST} files, or more than {_DEEPEST} deep")
    file = posixpath.join(posixpath.dirname(gathered.sources[0].file), name)
    source = RecipeText(name, file, "")
    try:
        source.text = load(name)
    except RecipeError as error:
        if error.file is None:
            return Flaw(error.message, error.hint)
        gathered.problems.add_error(error, number=len(gathered.sources))
        return None
    except AtollError as error:
        return Flaw(error.message, error.hint)
    _read(gathered, source, load, (*chain, name))
    return None


def _check_schema(table: Mapping[str, object], top: Location, problems: Diagnostics) -> bool:
    """Whether the rest of the text is in the language that this module knows."""
    number = table.get("schema")
    if "schema" not in table:
        hint = f"write as the first line: schema = {SCHEMA}"
        problems.add(top.below("schema"), Flaw("is missing", hint))
    elif not isinstance(number, int) or isinstance(number, bool):
        problems.add(top.below("schema"), wrong_type(int, number))
    elif number != SCHEMA:
        flaw = Flaw(f"this Atoll reads schema {SCHEMA}, not {number}", "use a newer Atoll")
        problems.add(top.below("schema"), flaw)
        return False
    return True


def _condition(fragment: Fragment) -> tuple[tuple[str, str], ...]:
    key = fragment.place.key
    return parse_condition(str(key[1])) if key[:1] == ("when",) else ()


def _holds(fragment: Fragment, asked: Mapping[str, str | None]) -> bool:
    return all(asked[name] == value for name, value in _condition(fragment))


def _move(rule: TableRule, table: Checked, folder: str) -> None:
    """Make the names of local files relative to the folder that ``folder`` is in."""
    for key in rule.keys:
        if key.local is not None and key.name in table:
            table[key.name] = _moved(key, table[key.name], folder)
    for inner in rule.tables:
        below = table.get(inner.name)
        for each in below if isinstance(below, list) else (below,):
            if isinstance(each, dict):
                _move(inner, each, folder)


def _moved(rule: KeyRule, value: object, folder: str) -> object:
    if isinstance(value, list):
        return [_moved(rule, item, folder) for item in value]
    if not isinstance(value, str) or rule.local is None or not rule.local(value):
        return value
    found = re.match(r"oci(?:-archive)?:", value)
    kind = found.group() if found else ""
    path, mark, variant = value[len(kind) :].partition("#")
    moved = posixpath.normpath(posixpath.join(folder, path))
    dots = "./" if is_local(path) and not is_local(moved) else ""
    return f"{kind}{dots}{moved}{mark}{variant}"


def syntax_problem(error: Exception, source: RecipeText) -> RecipeError:
    """What ``parse_toml`` said of a text, with the line."""
    message = str(error)
    place = re.search(_AT_LINE, message)
    line = None
    if place:
        message = message[: place.start()]
        line = int(place[1]) if place[1] else source.text.count("\n") + 1
    hint = "see https://toml.io for the form"
    if message == "Invalid value":
        hint = 'a text needs quotes: key = "text"'
    return RecipeError(f"is not TOML: {message}", file=source.file, line=line, hint=hint)
