"""Read a recipe and the files that it includes, as fragments in their order of precedence.

Included files come first, in order, each only once; then the including file. Of all these, the
unconditional parts come first, then the conditions that are true, then the chosen variant; later
ones take precedence. Names of local files in an included file are made relative to the folder of
the recipe.
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
"""Reads an included file; its name is relative to the recipe's folder. Raises AtollError."""

_DEEPEST, _MOST = 20, 200
_AT_LINE = r" \(at (?:line (\d+), column \d+|end of document)\)$"


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class LoadedRecipe:
    """Everything that was read; the recipe itself is the first of ``sources``."""

    sources: list[RecipeText] = field(default_factory=list)
    fragments: list[Fragment] = field(default_factory=list)
    problems: Diagnostics = field(default_factory=Diagnostics)

    @property
    def top(self) -> Location:
        """The location of the recipe itself."""
        return Location(self.sources[0], ())

    @property
    def readable(self) -> bool:
        """Whether the recipe itself is valid TOML with a supported schema."""
        locations = (fragment.location for fragment in self.fragments)
        return any(each.source.number == 0 and not each.key for each in locations)

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of all variants, in the order of the files."""
        keys = (fragment.location.key for fragment in self.fragments)
        return tuple(dict.fromkeys(str(key[1]) for key in keys if key[:1] == ("variant",)))

    def merged(self, variant: str | None, architecture: str) -> MergedTable:
        """Merge the fragments for ``variant`` whose conditions are true."""
        always = [each for each in self.fragments if not each.location.key]
        chosen = [each for each in self.fragments if each.location.key == ("variant", variant)]
        conditions = [each for each in self.fragments if each.location.key[:1] == ("when",)]
        if conditions:
            facts = {
                "architecture": architecture,
                "variant": variant,
                "suite": self._suite([*always, *chosen]),
            }
            conditions = [each for each in conditions if _is_true(each, facts)]
        return merge([*always, *conditions, *chosen], self.top, self.problems)

    def _suite(self, fragments: list[Fragment]) -> str | None:
        """The suite that conditions test: the one set without any condition."""
        merged = merge(fragments, self.top, Diagnostics())
        base = merged.text("from")
        if base.startswith("debian:"):
            return base.removeprefix("debian:")
        return merged.within("debian").optional_text("suite")

    def check_conditions(self) -> None:
        """Report conditions that name a variant that does not exist."""
        for fragment in self.fragments:
            for name, value in _condition(fragment):
                if name == "variant" and value not in self.variants:
                    hint = suggest(value, self.variants) if self.variants else "there is none"
                    self.problems.add(fragment.location, Flaw(f"there is no variant {value}", hint))


def load_fragments(
    text: str, *, file: str, load: Load | None = None, defaults: Checked | None = None
) -> LoadedRecipe:
    """Read a recipe's text and all that it includes; ``file`` is its name in messages.

    Without ``load`` an include is reported as a problem. ``defaults`` apply where no file sets a
    key.
    """
    loaded = LoadedRecipe()
    name = posixpath.basename(file)
    _read(loaded, RecipeText(name, file, text), load, (name,))
    loaded.check_conditions()
    if defaults is not None and loaded.readable:
        loaded.fragments.insert(0, Fragment(loaded.top, defaults))
    return loaded


def _read(
    loaded: LoadedRecipe, source: RecipeText, load: Load | None, chain: tuple[str, ...]
) -> None:
    source.number = len(loaded.sources)
    loaded.sources.append(source)
    top = Location(source, ())
    try:
        table = parse_toml(source.text)
    except ValueError as error:
        loaded.problems.add_error(syntax_problem(error, source), number=source.number)
        return
    if not _check_schema(table, top, loaded.problems):
        return
    fragments = check_file(
        table, lambda key, flaw: loaded.problems.add(Location(source, key), flaw)
    )
    includes = fragments[0][1].get("include")
    for number, include in enumerate(includes if isinstance(includes, list) else ()):
        if include is not None:
            flaw = _include(loaded, include, load, chain)
            if flaw:
                loaded.problems.add(top.below("include", number), flaw)
    folder = posixpath.dirname(source.name)
    for key, checked in fragments:
        if folder:
            _rebase_paths(TOP, checked, folder)
        loaded.fragments.append(Fragment(Location(source, key), checked))


def _include(
    loaded: LoadedRecipe, include: str, load: Load | None, chain: tuple[str, ...]
) -> Flaw | None:
    if load is None:
        return Flaw("cannot be read: only this text is available")
    name = posixpath.normpath(posixpath.join(posixpath.dirname(chain[-1]), include))
    if name in chain:
        cycle = " includes ".join([*chain[chain.index(name) :], name])
        return Flaw("includes itself", cycle)
    if any(source.name == name for source in loaded.sources):
        return None
    if len(chain) > _DEEPEST or len(loaded.sources) > _MOST:
        return Flaw(f"includes more than {_MOST} files, or more than {_DEEPEST} deep")
    file = posixpath.join(posixpath.dirname(loaded.sources[0].file), name)
    source = RecipeText(name, file, "")
    try:
        source.text = load(name)
    except RecipeError as error:
        if error.file is None:
            return Flaw(error.message, error.hint)
        loaded.problems.add_error(error, number=len(loaded.sources))
        return None
    except AtollError as error:
        return Flaw(error.message, error.hint)
    _read(loaded, source, load, (*chain, name))
    return None


def _check_schema(table: Mapping[str, object], top: Location, problems: Diagnostics) -> bool:
    """Report a wrong schema number; returns False if the rest cannot be read."""
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
    key = fragment.location.key
    return parse_condition(str(key[1])) if key[:1] == ("when",) else ()


def _is_true(fragment: Fragment, facts: Mapping[str, str | None]) -> bool:
    return all(facts[name] == value for name, value in _condition(fragment))


def _rebase_paths(rule: TableRule, table: Checked, folder: str) -> None:
    """Make the names of local files relative to the recipe's folder, not to ``folder``."""
    for key in rule.keys:
        if key.local is not None and key.name in table:
            table[key.name] = _rebase(key, table[key.name], folder)
    for inner in rule.tables:
        below = table.get(inner.name)
        for each in below if isinstance(below, list) else (below,):
            if isinstance(each, dict):
                _rebase_paths(inner, each, folder)


def _rebase(rule: KeyRule, value: object, folder: str) -> object:
    if isinstance(value, list):
        return [_rebase(rule, item, folder) for item in value]
    if not isinstance(value, str) or rule.local is None or not rule.local(value):
        return value
    found = re.match(r"oci(?:-archive)?:", value)
    kind = found.group() if found else ""
    path, separator, variant = value[len(kind) :].partition("#")
    rebased = posixpath.normpath(posixpath.join(folder, path))
    dots = "./" if is_local(path) and not is_local(rebased) else ""
    return f"{kind}{dots}{rebased}{separator}{variant}"


def syntax_problem(error: Exception, source: RecipeText) -> RecipeError:
    """Turn an error of ``parse_toml`` into a RecipeError with its line."""
    message = str(error)
    found = re.search(_AT_LINE, message)
    line = None
    if found:
        message = message[: found.start()]
        line = int(found[1]) if found[1] else source.text.count("\n") + 1
    hint = "see https://toml.io for the form"
    if message == "Invalid value":
        hint = 'a text needs quotes: key = "text"'
    return RecipeError(f"is not TOML: {message}", file=source.file, line=line, hint=hint)
