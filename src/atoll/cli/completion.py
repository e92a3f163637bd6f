"""Completion for bash, zsh and fish, and the manual page, generated from the verbs' parsers.

``python3 -m atoll.cli.completion DIR TEMPLATE`` writes them all when the Debian package is built.
So they match this version, and completion does not start Python. Of the maintained generators,
shtab does not support fish, argcomplete starts Python at each Tab, and help2man runs each verb.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atoll import __version__
from atoll.cli.main import VERBS, verb_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATE = '.\\" VERBS\n'
"""Marks the place of the verbs in the template of the manual page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """``value`` names the argument of the option; None if it takes none."""

    flags: tuple[str, ...]
    help: str
    value: str | None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A verb or a sub-verb; ``path`` are its words, such as ``("tree", "digest")``.

    ``takes`` are its positional arguments (name and help). ``choices`` are the possible values of
    the first one; without choices, file names are completed.
    """

    path: tuple[str, ...]
    help: str
    usage: str
    options: tuple[Option, ...]
    takes: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] = ()
    example: str = ""

    @property
    def name(self) -> str:
        return self.path[-1]


def read_commands() -> tuple[Command, ...]:
    """All verbs and sub-verbs; each verb comes before its sub-verbs."""
    found: list[Command] = []
    for verb in VERBS:
        found += _read(verb_parser(verb), (verb.name,), verb.help, verb.example)
    return tuple(found)


def _read(
    parser: argparse.ArgumentParser, path: tuple[str, ...], text: str, example: str = ""
) -> Iterator[Command]:
    options, takes, choices = [], [], []
    below: list[tuple[argparse.ArgumentParser, tuple[str, ...], str]] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            choices += list(action.choices)
            below += [
                (inner, (*path, name), helps.get(name, ""))
                for name, inner in action.choices.items()
            ]
        elif action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            options.append(_read_option(action))
        else:
            takes.append((_metavar(action), action.help or ""))
            choices += [str(one) for one in action.choices or ()]
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield Command(
        path=path,
        help=text,
        usage=usage,
        options=tuple(options),
        takes=tuple(takes),
        choices=tuple(choices),
        example=example,
    )
    for inner, words, help_text in below:
        yield from _read(inner, words, help_text)


def _read_option(action: argparse.Action) -> Option:
    return Option(
        flags=tuple(action.option_strings),
        help=action.help or "",
        value=None if action.nargs == 0 else _metavar(action),
        choices=tuple(str(one) for one in action.choices or ()),
    )


def _metavar(action: argparse.Action) -> str:
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    return name or action.dest


def format_bash(commands: tuple[Command, ...]) -> str:
    """The completion script for bash."""
    tops = " ".join(verb.name for verb in VERBS)
    paths = "|".join(_path_text(command) for command in commands)
    offers = [f'        {_path_text(one)}) words="{_words(one)}" ;;' for one in commands]
    values = [
        f'        {_path_text(one)}:{flag}) words="{" ".join(option.choices)}"; values=yes ;;'
        for one in commands
        for option in one.options
        if option.value
        for flag in option.flags
    ]
    return "\n".join(
        [
            "# bash completion for atoll; made from its parsers by atoll.cli.completion",
            "_atoll() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}",
            f'    local path="" word values="" words="{tops} --help --version"',
            '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            f'        case "$path/$word" in {paths}) path="$path/$word" ;; esac',
            "    done",
            '    case "$path" in',
            *offers,
            "    esac",
            '    case "$path:$prev" in',
            *values,
            "    esac",
            "    COMPREPLY=()",
            "    if [[ $values || $cur != -* ]]; then",
            "        [[ ! $path ]] || compopt -o default 2>/dev/null",
            '        [[ $values ]] || words=$(printf "%s\\n" $words | grep -v "^-")',
            "    fi",
            '    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")',
            "}",
            "complete -F _atoll atoll",
            "",
        ]
    )


def _path_text(command: Command) -> str:
    return "/" + "/".join(command.path)


def _words(command: Command) -> str:
    return " ".join([*command.choices, *(flag for one in command.options for flag in one.flags)])


def format_zsh(commands: tuple[Command, ...]) -> str:
    """The completion function for zsh."""
    lines = ["#compdef atoll", "# made from the parsers of atoll by atoll.cli.completion", ""]
    for command in commands:
        lines += _zsh_function(command, _below(commands, command))
    tops = tuple(command for command in commands if len(command.path) == 1)
    lines += _zsh_choice("_atoll", tops, ["'--help[show help]'", "'--version[show the version]'"])
    return "\n".join([*lines, '_atoll "$@"', ""])


def _below(commands: tuple[Command, ...], command: Command) -> tuple[Command, ...]:
    return tuple(one for one in commands if one.path[:-1] == command.path)


def _zsh_function(command: Command, below: tuple[Command, ...]) -> list[str]:
    name = "_atoll_" + "_".join(command.path)
    options = [_zsh_option(option) for option in command.options]
    if below:
        return _zsh_choice(name, below, options)
    if command.choices:
        options.append(f"'*:what:({' '.join(command.choices)})'")
    elif command.takes:
        options.append(f"'*:{_zsh_text(command.takes[0][0])}:_files'")
    return [f"{name}() {{", "    _arguments -s \\", *_continued(options), "}", ""]


def _zsh_choice(name: str, below: tuple[Command, ...], options: list[str]) -> list[str]:
    described = " ".join(f"'{one.name}:{_zsh_text(one.help)}'" for one in below)
    cases = [f"        {one.name}) _atoll_{'_'.join(one.path)} ;;" for one in below]
    return [
        f"{name}() {{",
        "    local curcontext=$curcontext state line ret=1",
        f"    local -a choices=({described})",
        "    _arguments -C \\",
        *_continued([*options, "'1: :->choice'", "'*:: :->rest'"]),
        "    case $state in",
        "    choice) _describe choice choices ;;",
        "    rest) case $words[1] in",
        *cases,
        "        esac ;;",
        "    esac",
        "}",
        "",
    ]


def _continued(words: list[str]) -> list[str]:
    words = words or ["'*: :_files'"]
    return [f"        {word} \\" for word in words[:-1]] + [f"        {words[-1]}"]


def _zsh_option(option: Option) -> str:
    value = ""
    if option.value:
        offers = f"({' '.join(option.choices)})" if option.choices else "_files"
        value = f":{_zsh_text(option.value)}:{offers}"
    text = f"[{_zsh_text(option.help)}]{value}'"
    if len(option.flags) == 1:
        return f"'{option.flags[0]}{text}"
    return f"'({' '.join(option.flags)})'{{{','.join(option.flags)}}}'{text}"


def _zsh_text(text: str) -> str:
    """``text`` without the characters that have a meaning for ``_arguments``."""
    plain = text.replace("'", "’").replace("%%", "%").replace("\\", "")
    return plain.replace("[", "(").replace("]", ")").replace(":", ",")


def format_fish(commands: tuple[Command, ...]) -> str:
    """The completion script for fish."""
    paths = " ".join(_path_text(command) for command in commands)
    lines = [
        "# fish completion for atoll; made from its parsers by atoll.cli.completion",
        "function __atoll_path",
        "    set -l path",
        "    for word in (commandline -opc)[2..]",
        f'        contains -- "$path/$word" {paths}; and set path "$path/$word"',
        "    end",
        '    echo "$path/"',
        "end",
        "complete -c atoll -n 'test (__atoll_path) = /' -f -l help -d 'Show help'",
        "complete -c atoll -n 'test (__atoll_path) = /' -f -l version -d 'Show the version'",
    ]
    for command in commands:
        above = "/" + "".join(f"{word}/" for word in command.path[:-1])
        lines.append(
            f"complete -c atoll -n 'test (__atoll_path) = {above}' -f -a {command.name} "
            f"-d '{_fish_text(command.help)}'"
        )
        when = f"-n 'test (__atoll_path) = {_path_text(command)}/'"
        plain = [
            one
            for one in command.choices
            if (*command.path, one) not in {each.path for each in commands}
        ]
        if plain:
            lines.append(f"complete -c atoll {when} -f -a '{' '.join(plain)}'")
        lines += [f"complete -c atoll {when} {_fish_option(option)}" for option in command.options]
    return "".join(f"{line}\n" for line in lines)


def _fish_option(option: Option) -> str:
    words = [
        f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags
    ]
    if option.value:
        words.append(f"-x -a '{' '.join(option.choices)}'" if option.choices else "-r -F")
    return " ".join([*words, f"-d '{_fish_text(option.help)}'"])


def _fish_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("%%", "%")


def format_manual(commands: tuple[Command, ...], template: str) -> str:
    """The manual page, in roff: ``template`` with the verbs in their place."""
    lines: list[str] = []
    for who in dict.fromkeys(verb.who for verb in VERBS):
        lines.append(f'.SH "{_roff(who.upper())}"')
        names = {verb.name for verb in VERBS if verb.who == who}
        for command in commands:
            if command.path[0] in names:
                lines += _manual_part(command)
    verbs = "".join(f"{line}\n" for line in lines)
    return template.replace("@VERSION@", __version__).replace(TEMPLATE, verbs)


def _manual_part(command: Command) -> Iterator[str]:
    yield f'.SS "atoll {_roff(" ".join(command.path))}"'
    yield f"{_roff(_sentence(command.help))}"
    yield ".PP"
    yield f".RS 4\n.B {_roff(command.usage)}\n.RE"
    for name, text in command.takes:
        yield f".TP\n.I {_roff(name)}\n{_roff(_sentence(text))}"
    for option in command.options:
        flags = ", ".join(option.flags)
        value = f" {option.value}" if option.value else ""
        yield f".TP\n.B {_roff(flags + value)}\n{_roff(_sentence(option.help))}"
    if command.example:
        yield f".PP\nExample:\n.RS 4\n.B {_roff(command.example)}\n.RE"


def _sentence(text: str) -> str:
    plain = text.replace("%%", "%")
    return f"{plain[:1].upper()}{plain[1:]}." if plain else "See above."


def _roff(text: str) -> str:
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return "\\&" + plain if plain.startswith((".", "'")) else plain


def write_all(folder: Path, template: str) -> None:
    """Write ``atoll.bash``, ``_atoll`` (zsh), ``atoll.fish`` and ``atoll.1`` to ``folder``."""
    commands = read_commands()
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "atoll.bash": format_bash(commands),
        "_atoll": format_zsh(commands),
        "atoll.fish": format_fish(commands),
        "atoll.1": format_manual(commands, template),
    }
    for name, text in texts.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]), Path(sys.argv[2]).read_text())
