"""What the documents and hints point to is there: pages, paths, verbs, options, files."""

from __future__ import annotations

import argparse
import ast
import functools
import json
import re
import shlex
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from atoll.cli.arguments import Parser
from atoll.cli.main import VERBS, Verb
from atoll.recipe.language.parse import read_recipe
from docs.site.assemble import find_pages, format_config
from tests.pages import followed_pages, read_blocks, read_commands, read_files
from tests.source import parse_source

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").rglob("*.md")), TOP / "examples/README.md"]
ROOTS = (TOP, TOP / "src", TOP / "src/atoll")
"""What paths in code marks are named from."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []
    paths = re.findall(r"`([a-z_0-9]+/[\w/.-]+\.(?:py|sh))`", text)
    assert [path for path in paths if not any((root / path).exists() for root in ROOTS)] == []
    anchors = re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", text)
    for file, anchor in anchors:
        if not re.match(r"[a-z]+:", file):
            target = page if not file else page.parent / file
            assert anchor in headings(target.read_text()), f"{file}#{anchor}"


def places(nav: list[Any]) -> Iterator[str]:
    """The files that a navigation names, in their order."""
    for entry in nav:
        for value in [entry] if isinstance(entry, str) else entry.values():
            yield from places(value) if isinstance(value, list) else (value,)


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    """A new page needs a line in ``nav`` in docs/site/zensical.toml."""
    config = tomllib.loads(format_config((TOP / "docs/site/zensical.toml").read_text()))
    there = [str(page) for page in find_pages().values()]
    assert sorted(places(config["project"]["nav"])) == sorted([*there, "decisions/README.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_blocks_of_code_are_what_they_say(page: Path, tmp_path: Path) -> None:
    """TOML and JSON can be read, shell can be parsed, and a whole recipe has no errors."""
    for block in read_blocks(page):
        match block.language:
            case "toml":
                keys = tomllib.loads(block.text).keys()
                if {"schema", "from"} <= keys and "include" not in keys and not block.file:
                    (tmp_path / "atoll.toml").write_text(block.text)
                    read_recipe(tmp_path)
            case "json":
                json.loads(block.text)
            case "sh":
                subprocess.run(["sh", "-n", "-c", block.text], check=True)


def headings(text: str) -> set[str]:
    """The names that a web page of it gives its headings."""
    lines = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", followed_pages(), ids=lambda page: page.stem)
def test_of_each_block_of_a_tutorial_it_is_known_whether_it_is_followed(page: Path) -> None:
    """tests/programs/test_pages.py follows them."""
    marks = re.compile(r"file: \S+|run( --long)?|not run: .+")
    assert [block.line for block in read_blocks(page) if not marks.fullmatch(block.mark)] == []


def test_the_desktop_of_the_tutorial_is_the_example(tmp_path: Path) -> None:
    files = read_files(TOP / "docs/tutorial/your-own-desktop.md")
    example = TOP / "examples/sway"
    names = {str(path.relative_to(example)) for path in example.rglob("*") if path.is_file()}
    assert files.keys() == names - {"atoll.lock"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        if name != "atoll.toml":
            assert text == (example / name).read_text(), name
    ours, theirs = (
        tomllib.loads((folder / "atoll.toml").read_text()) for folder in (tmp_path, example)
    )
    assert ours == theirs


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of atoll in a block of a page, with its place."""
    for page in (*PAGES, TOP / "src/atoll/recipe/templates/common/README.md"):
        for block in read_blocks(page):
            for command in read_commands(block) if block.language in ("", "sh", "bash") else ():
                for part in re.split(r"&&|\|\|?|;", command.text):
                    found = re.match(r"\s*(?:sudo )?atoll (.*)", part)
                    if found:
                        yield f"{page.relative_to(TOP)}:{command.line}", found[1]


COMMANDS = sorted(set(commands()))


def test_commands_are_found_in_the_pages() -> None:
    assert len(COMMANDS) > 40


@pytest.mark.parametrize(("place", "line"), COMMANDS, ids=lambda word: word)
def test_a_command_of_a_page_is_one_that_atoll_takes(place: str, line: str) -> None:
    assert place
    words = shlex.split(line, comments=True)
    if words[0] in ("--help", "--version", "help"):
        return
    parse(words)


def parse(words: list[str]) -> None:
    """With the verb's own parser; raises UsageError."""
    verb = next((verb for verb in VERBS if verb.name == words[0]), None)
    assert verb is not None, f"there is no verb {words[0]}"
    parser_of(verb.name).parse_args(words[1:])


@functools.cache
def parser_of(name: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"atoll {name}")
    import_module(f"atoll.cli.{name}").add_arguments(parser)
    return parser


@functools.cache
def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Those of a verb and of the verbs within it."""
    found = {
        word
        for word, action in parser._option_string_actions.items()
        if action.help != argparse.SUPPRESS
    }
    for action in parser._actions:
        for inner in (action.choices or {}).values() if isinstance(action.choices, dict) else ():
            found |= options_of(inner)
    return found


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_the_heading_of_a_verb_names_the_options_that_it_has(verb: Verb) -> None:
    page = (TOP / "docs/reference/commands.md").read_text()
    headings = [
        line
        for line in page.splitlines()
        if line.startswith("## ") and re.search(rf"`atoll {verb.name}\b", line)
    ]
    assert len(headings) == 1, headings
    section = page.partition(headings[0])[2].partition("\n## ")[0]
    named = set(re.findall(r"--[a-z][a-z-]+", headings[0]))
    has = {word for word in options_of(parser_of(verb.name)) if word.startswith("--")}
    assert named <= has | {"--quiet", "--help"}
    assert has - {"--quiet", "--help"} <= set(re.findall(r"--[a-z][a-z-]+", headings[0] + section))


def texts() -> Iterator[tuple[str, str]]:
    """Texts of the program that a person reads and that may have a command line of atoll: a
    placeholder for what is filled in."""
    for path in sorted((TOP / "src/atoll").rglob("*.py")):
        text = path.read_text()
        # Imports have a dot after it.
        if re.search(r"atoll[^.]", text):
            for node in read_texts(parse_source(text)):
                yield f"{path.relative_to(TOP)}:{node.lineno}", format_text(node)


def read_texts(node: ast.AST) -> Iterator[ast.Constant | ast.JoinedStr]:
    """The strings below ``node``: no docstrings, and no parts of other strings."""
    match node:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.JoinedStr() | ast.Constant(value=str()):
            yield node
        case _:
            for inner in ast.iter_child_nodes(node):
                yield from read_texts(inner)


def format_text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
    return "".join(map(str, parts))


def test_hints_and_errors_name_verbs_and_options_that_there_are() -> None:
    """So that no error's next step is an error itself."""
    verbs = {verb.name for verb in VERBS}
    wrong = []
    for place, text in [
        *texts(),
        *(
            (str(page.relative_to(TOP)), page.read_text())
            for page in (*PAGES, TOP / "debian/atoll.1.in")
        ),
    ]:
        for word, rest in re.findall(r"(?<![\w/.:-])atoll ([a-z][a-z-]+)\b([^\n,;:`)]*)", text):
            if word in FINE_WORDS.get(place.partition(":")[0], ()):
                continue
            if word not in verbs:
                wrong.append(f"{place}: atoll {word}")
                continue
            named = set(re.findall(r"(?<!\S)(--[a-z][a-z-]+)", rest))
            missing = named - options_of(parser_of(word))
            wrong += [f"{place}: atoll {word} {option}" for option in sorted(missing)]
    assert wrong == []


FINE_WORDS = {"src/atoll/cli/completion.py": ("by",)}
"""What comes after the word "atoll" in a text and is no verb."""
