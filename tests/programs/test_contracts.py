"""What Python writes, the shell of early boot reads with the same meaning, and the other way round.

docs/reference/contracts.md describes each file. The writers and readers here are the real ones, the
shells are both that an initrd may have, and damaged files mean what the page says.
"""

from __future__ import annotations

import json
import re
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.base.errors import AtollError, Damaged
from atoll.base.ids import is_hex_digest
from atoll.image.tree_owned import format_tree_owned, parse_tree_owned
from atoll.machine.boot.boot_entries import MenuEntry, format_entry_list, parse_entry_list
from atoll.machine.boot.boot_entry import (
    BootEntry,
    EntryName,
    format_entry,
    format_entry_name,
    parse_entry,
    parse_entry_name,
)
from atoll.machine.deployment import is_number
from atoll.machine.deployments.sysroot import parse_booted
from tests.programs.shell_functions import both_shells, run_functions, write_cases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP = Path(__file__).parents[2]
GOLDEN = TOP / "tests/golden/contracts"
MOST = 10**9 - 1

numbers = st.one_of(st.integers(1, 12), st.integers(1, MOST), st.sampled_from([1, 9, 10, MOST]))
counts = st.one_of(st.integers(0, 4), st.integers(0, 9999))
names = st.builds(
    EntryName, sequence=numbers, tries_left=st.none() | counts, tries_used=st.just(0)
) | st.builds(EntryName, sequence=numbers, tries_left=counts, tries_used=counts)
menus = st.lists(st.builds(MenuEntry, name=names, deployment=numbers), max_size=6).map(tuple)

MENU = tuple(
    MenuEntry(name=name, deployment=deployment)
    for name, deployment in (
        (EntryName(sequence=12, tries_left=2, tries_used=1), 5),
        (EntryName(sequence=11), 4),
        (EntryName(sequence=9), 3),
        (EntryName(sequence=10, tries_left=0, tries_used=3), 123456789),
    )
)


def read_fallbacks(shell: str, cases: Sequence[tuple[Path, int]]) -> list[str]:
    """Of each file and booted deployment: the fallback and its entry, or that it is refused."""
    before = """
        case_() {
            if read_fallback "$1" "$2"; then echo "$fallback $fallback_entry"; else echo refused; fi
        }"""
    calls = [f"case_ '{path}' {number} 2> /dev/null" for path, number in cases]
    return run_functions(shell, calls, before=before)


def fallback_of(entries: tuple[MenuEntry, ...], booted: int) -> str:
    return next(
        (
            f"{each.deployment} {each.file}"
            for each in entries
            if each.name.tries_left is None and each.deployment != booted
        ),
        " ",
    )


@both_shells
@settings(max_examples=8)
@given(cases=st.lists(st.tuples(menus, numbers), min_size=1, max_size=40))
def test_early_boot_reads_the_entries_that_python_writes(
    shell: str, cases: list[tuple[tuple[MenuEntry, ...], int]]
) -> None:
    cases = [
        (menu, menu[-1].deployment if menu and booted % 2 else booted) for menu, booted in cases
    ]
    with tempfile.TemporaryDirectory() as folder:
        paths = write_cases(Path(folder), (format_entry_list(menu) for menu, _ in cases))
        said = read_fallbacks(
            shell, [(path, case[1]) for path, case in zip(paths, cases, strict=True)]
        )
    assert said == [fallback_of(menu, booted) for menu, booted in cases]


def damage(data: bytes) -> Iterator[bytes]:
    """Everything that a disk, an editor or another program may make of a file."""
    yield from (data[:length] for length in range(len(data)))
    for place in range(len(data)):
        yield data[:place] + b"\0" + data[place:]
        yield data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
    lines = data.splitlines(keepends=True)
    for place in range(len(lines) - 1):
        yield b"".join([*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]])
        yield b"".join([*lines[:place], *lines[place + 1 :]])
    yield data.replace(b"\n", b"\r\n")
    yield data.replace(b"\n", b" \n")
    yield from (data + more for more in (b"\n", b" ", b"\0", b"{", b"[]\n", data))
    yield from (more + data for more in (b"\n", b" ", b"\xef\xbb\xbf"))
    try:
        document = json.loads(data)
    except ValueError:
        return
    for indent in (None, 0, 2, "\t"):
        yield json.dumps(document, indent=indent).encode() + b"\n"


@both_shells
def test_early_boot_refuses_entries_that_are_not_exactly_as_python_writes_them(
    shell: str, tmp_path: Path
) -> None:
    """The shell reads what Python would write again byte for byte, and nothing else. So it never
    finds something in a damaged file that is not in it."""
    cases = [*damage(format_entry_list(MENU)), format_entry_list(()), format_entry_list(MENU)]
    expected = []
    for data in cases:
        try:
            entries = parse_entry_list(data)
            # A name of an entry has two spellings for no used tries.
            whole = format_entry_list(entries) == data.replace(b"-0.conf", b".conf")
        except Damaged:
            whole = False
        expected.append(fallback_of(entries, 4) if whole else "refused")
    said = read_fallbacks(shell, [(path, 4) for path in write_cases(tmp_path / "cases", cases)])
    assert [pair for pair in zip(cases, said, expected, strict=True) if pair[1] != pair[2]] == []
    assert said[-1] == "3 atoll-9.conf" and said.count("refused") > len(cases) * 0.9


@both_shells
def test_entries_that_cannot_be_opened_are_refused(shell: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    places = [(tmp_path / name, 1) for name in ("directory", "loop", "missing")]
    assert read_fallbacks(shell, places) == ["refused"] * 3


@both_shells
def test_the_layout_of_the_entries_never_changes(shell: str) -> None:
    """Machines have early boots of older images, which read it too."""
    golden = GOLDEN / "entries.json"
    assert format_entry_list(MENU) == golden.read_bytes()
    assert parse_entry_list(golden.read_bytes()) == MENU
    assert read_fallbacks(shell, [(golden, 4), (golden, 5)]) == [
        "3 atoll-9.conf",
        "4 atoll-11.conf",
    ]


@pytest.mark.parametrize("entry", ['"x.conf"', "3", "null"])
@pytest.mark.parametrize("deployment", ['"4"', "0", "-1", "1.5", "true", "1000000000"])
def test_python_refuses_entries_of_which_one_cannot_be_read(entry: str, deployment: str) -> None:
    good = '{"entry": "atoll-3.conf", "deployment": 4}'
    assert parse_entry_list(f"[{good}]".encode())
    for bad in (good.replace('"atoll-3.conf"', entry), good.replace("4", deployment)):
        with pytest.raises(Damaged):
            parse_entry_list(f"[{good}, {bad}]".encode())


digests = st.text("0123456789abcdef", min_size=64, max_size=64)


@both_shells
@settings(max_examples=8)
@given(cases=st.lists(st.tuples(numbers, digests), min_size=1, max_size=40))
def test_what_early_boot_writes_of_the_running_system_is_read_by_python_and_the_scripts(
    shell: str, cases: list[tuple[int, str]]
) -> None:
    """``format_booted`` writes, ``parse_booted`` and ``read_booted`` read."""
    lines = run_functions(shell, [f"format_booted {number} {tree}" for number, tree in cases])
    for line, (number, tree) in zip(lines, cases, strict=True):
        assert parse_booted(f"{line}\n".encode()) == number
        assert json.loads(line) == {"deployment": number, "tree": tree}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_cases(Path(folder), (f"{line}\n".encode() for line in lines))
        calls = [f"read_booted {path}; echo $deployment $tree" for path in paths]
        said = run_functions(shell, calls)
    assert said == [f"{number} {tree}" for number, tree in cases]


@both_shells
def test_scripts_refuse_what_early_boot_does_not_write_of_the_running_system(
    shell: str, tmp_path: Path
) -> None:
    golden = (GOLDEN / "booted").read_bytes()
    tree = json.loads(golden)["tree"]
    assert run_functions(shell, [f"format_booted 7 {tree}"]) == [golden.decode().rstrip("\n")]
    cases = [golden, *damage(golden)]
    calls = [
        f"if read_booted {path}; then format_booted $deployment $tree; else echo refused; fi"
        for path in write_cases(tmp_path / "cases", cases)
    ]
    (tmp_path / "directory").mkdir()
    calls += [
        f"if read_booted {tmp_path / name} 2> /dev/null; then echo; else echo refused; fi"
        for name in ("directory", "missing")
    ]
    said = run_functions(shell, calls)
    assert said[-2:] == ["refused", "refused"]
    accepted = [case for case, line in zip(cases, said, strict=False) if line != "refused"]
    same_form = re.compile(rb'\{"deployment": [1-9][0-9]{0,8}, "tree": "[0-9a-f]{64}"\}\n')
    assert accepted == [case for case in cases if same_form.fullmatch(case)]
    assert all(parse_booted(case) for case in accepted)


WORDS = (
    "",
    "0",
    "7",
    "07",
    "+7",
    "1" * 9,
    "1" * 10,
    "a" * 64,
    "A" * 64,
    "a" * 63,
    "a" * 65,
    "٣",
    "7\n",
    "atoll-7.conf",
    "atoll-7+3.conf",
    "atoll-7+2-1.conf",
    "atoll-7+.conf",
    "atoll-7+2-.conf",
    "atoll-7-1.conf",
    "atoll-7+2-1-0.conf",
    "atoll-7+2+1.conf",
    "atoll-7+00000.conf",
    "atoll-0.conf",
    "atoll-.conf",
    "atoll-7.conf.conf",
    "atoll-7",
    "atoll-7+2-10000.conf",
    "atoll-1234567890.conf",
    "xatoll-7.conf",
    "atoll-7.conf ",
    "atoll-7+12345.conf",
    "atoll-*.conf",
    "*",
    "atoll-7+-1.conf",
)
near_names = st.text("atol-+.conf0123456789\n *[]", max_size=24) | st.builds(
    "atoll-{}{}".format, numbers, st.text("+-.conf012 9\n", max_size=10)
)


@both_shells
@settings(max_examples=8)
@given(drawn=st.lists(near_names | names.map(format_entry_name), min_size=1, max_size=60))
def test_shell_and_python_agree_on_names_numbers_and_digests(shell: str, drawn: list[str]) -> None:
    words = [*WORDS, *drawn]
    before = """
        is() { if "$@"; then printf 'yes '; else printf 'no '; fi; }
        case_() {
            is is_number "$1"; is is_digest "$1"; is is_entry_name "$1"; echo
        }"""
    said = run_functions(shell, [f"case_ {shlex.quote(word)}" for word in words], before=before)
    judged = [
        (is_number(word), is_hex_digest(word), parse_entry_name(word) is not None) for word in words
    ]
    expected = [" ".join("yes" if each else "no" for each in three) for three in judged]
    wrong = [pair for pair in zip(words, said, expected, strict=True) if pair[1].strip() != pair[2]]
    assert wrong == []


ARGUMENTS = st.lists(
    st.one_of(
        st.from_regex(r'[a-z._]{1,8}(=([!#-~]{0,9}|"[ !#-~]{0,20}"))?', fullmatch=True),
        st.sampled_from(
            [
                'x="atoll.deployments=1 b"',
                'x="" y',
                "* ? [a]",
                'a="*"',
                r"p=\n\\",
                "quiet",
                'dyndbg="file x +p"',
                "x='a b'",
                "-",
                "$x",
                "`x`",
            ]
        ),
    ),
    max_size=5,
)


@both_shells
@settings(max_examples=10)
@given(cases=st.lists(st.tuples(numbers, digests, st.booleans(), ARGUMENTS), max_size=40))
def test_early_boot_reads_the_command_line_of_an_entry_as_python_does(
    shell: str, cases: list[tuple[int, str, bool, list[str]]]
) -> None:
    lines, expected = [], []
    for number, tree, verity, more in cases:
        own = (f"composefs={tree}", f"atoll.state=UUID={number:x}-1", f"atoll.deployment={number}")
        options = (*own, *(["atoll.verity=require"] if verity else []), "panic=10", *more)
        name = EntryName(sequence=number)
        entry = BootEntry(name=name, title="t", linux="/l", initrd="/i", options=options)
        try:
            text = format_entry(entry).decode()
        except AtollError:
            continue  # such arguments get into no entry
        read = parse_entry(name, text)
        assert read is not None
        words = (
            read.option(word) or ""
            for word in ("composefs", "atoll.state", "atoll.deployment", "atoll.verity")
        )
        expected.append("|".join(words))
        given_options = next(line for line in text.splitlines() if line.startswith("options "))
        # systemd-boot's stub puts the initrd before what the entry says.
        lines.append(f"initrd=\\atoll\\x\\initrd {given_options.removeprefix('options ')}\n")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_cases(Path(folder), (line.encode() for line in lines))
        said = run_functions(shell, (read_line(path) for path in paths))
    assert said == expected


def read_line(path: Path) -> str:
    return f"(cmdline={path}; {READ_LINE})"


READ_LINE = 'read_command_line; echo "$tree|$device|$deployment|$verity"'
REFUSE = "fail() { echo refused; exit; }"
TREE = "ab" * 32
OWN = f"composefs={TREE} atoll.state=UUID=1 atoll.deployment=4"
QUOTED = [
    f'{OWN} x="a atoll.deployment=1 b"',
    f'x="a atoll.deployment=1 b" {OWN}',
    f'composefs={TREE} atoll.state=UUID=1 x="" atoll.deployment=4 atoll.deployment=1',
    f"{OWN} x='a atoll.deployment=1 b'",
    f'"a b" {OWN} y="open atoll.deployment=1',
    f"initrd=\\atoll\\n composefs={TREE} atoll.state=UUID=1 * ? atoll.deployment=4",
]
MALFORMED = [
    "",
    OWN.replace(TREE, TREE[1:]),
    OWN.replace(TREE, TREE.upper()),
    OWN.replace("deployment=4", "deployment=04"),
    OWN.replace("deployment=4", "deployment=../4"),
    OWN.replace("deployment=4", f"deployment={MOST + 1}"),
    OWN.replace("atoll.state=UUID=1", ""),
    f"{OWN} atoll.verity=perhaps",
    f'"{OWN}"',
]


@both_shells
def test_words_in_quotes_choose_no_deployment_and_malformed_ones_are_refused(
    shell: str, tmp_path: Path
) -> None:
    paths = write_cases(
        tmp_path / "lines", (f"{line}\n".encode() for line in (*QUOTED, *MALFORMED))
    )
    said = run_functions(shell, (read_line(path) for path in paths), before=REFUSE)
    assert said == [f"{TREE}|UUID=1|4|"] * len(QUOTED) + ["refused"] * len(MALFORMED)


path_names = st.text(
    st.characters(exclude_characters="/\n\r\0", exclude_categories=["Cs"]), min_size=1
).filter(lambda name: name not in (".", ".."))
paths = st.lists(path_names, min_size=1, max_size=3).map(lambda parts: "/var/" + "/".join(parts))


@both_shells
@settings(max_examples=8)
@given(cases=st.lists(st.lists(paths, unique=True, max_size=8), min_size=1, max_size=20))
def test_early_boot_mounts_what_a_build_lists_as_tree_owned(
    shell: str, cases: list[list[str]]
) -> None:
    before = r"""
        ensure_path() { :; }
        bind_mount() { printf '%s\t' "${2#"$root"}"; }
        case_() { root=$1 tree=1 var=$1/var; mount_tree_owned; echo; }"""
    with tempfile.TemporaryDirectory() as folder:
        calls = []
        for number, listed in enumerate(cases):
            tree = Path(folder) / str(number)
            place = tree / "usr/lib/atoll/tree-owned"
            place.parent.mkdir(parents=True)
            place.write_text(format_tree_owned(listed))
            assert list(parse_tree_owned(place.read_text())) == sorted(listed)
            calls.append(f"case_ {tree}")
        said = run_functions(shell, calls, before=before)
    assert said == ["".join(f"{path}\t" for path in sorted(listed)) for listed in cases]


@both_shells
def test_a_tree_without_its_list_of_tree_owned_directories_does_not_boot(
    shell: str, tmp_path: Path
) -> None:
    calls = [f"(root={tmp_path} tree=1; mount_tree_owned; echo)"]
    assert run_functions(shell, calls, before=REFUSE) == ["refused"]


def test_what_cannot_be_a_line_is_not_tree_owned() -> None:
    for path in ("/var/a\nb", "/var/a\0", "/var/a\r", "/etc/x", "var/x"):
        with pytest.raises(ValueError, match="cannot be tree-owned"):
            format_tree_owned([path])


NAMED = re.compile(r"\b([a-z_]+\.py)\b")


def test_modules_that_shell_files_name_exist() -> None:
    sources = {path.name for path in (TOP / "src").rglob("*.py")}
    texts = [path.read_text() for path in (TOP / "system").rglob("*") if path.is_file()]
    named = {name for text in texts for name in NAMED.findall(text)}
    assert named and named <= sources
