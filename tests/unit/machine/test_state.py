"""What status reads of a machine: good, of others, half there and damaged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NotFound
from atoll.base.ids import TreeId
from atoll.cli.status import WIDTH, as_json, format_state
from atoll.machine.boot.boot_entries import MenuEntry, format_entry_list, parse_entry_list
from atoll.machine.boot.boot_entry import BootEntry, EntryName, format_entry, format_entry_name
from atoll.machine.deployment import Deployment, format_deployment
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot, find_sysroot, parse_booted

if TYPE_CHECKING:
    from pathlib import Path


def place(root: Path, number: int, entry: EntryName | None, *, version: str = "1") -> None:
    deployment = Deployment(
        number=number,
        tree=TreeId(f"{number:064x}"),
        name="hello",
        version=version,
        kernel="6.12",
        pair="b" * 64,
    )
    folder = root / "atoll/deployments" / str(number)
    folder.mkdir(parents=True)
    (folder / "deployment.json").write_bytes(format_deployment(deployment))
    (folder / "origin.toml").write_bytes(b'image = "docker://host/hello:1"\n')
    entries = root / "esp/loader/entries"
    entries.mkdir(parents=True, exist_ok=True)
    if entry is not None:
        text = format_entry(
            BootEntry(
                name=entry,
                title=deployment.title,
                linux="/l",
                initrd="/i",
                options=(f"atoll.deployment={number}",),
            )
        )
        (entries / format_entry_name(entry)).write_bytes(text)


def machine(root: Path, booted: int | None = None) -> Sysroot:
    return Sysroot(root=root, esp=root / "esp", booted=booted)


def flags(root: Path, booted: int | None = None) -> dict[int, set[str]]:
    document = as_json(read_state(machine(root, booted)))
    deployments = document["deployments"]
    assert isinstance(deployments, list)
    names = ("booted", "default", "staged", "pinned", "held")
    return {found["number"]: {name for name in names if found[name]} for found in deployments}


def test_a_new_deployment_is_staged_until_it_runs(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1))
    place(tmp_path, 2, EntryName(sequence=2, tries_left=3))
    assert flags(tmp_path, 1) == {2: {"default", "staged"}, 1: {"booted"}}
    assert flags(tmp_path, 2) == {2: {"booted", "default"}, 1: set()}


def test_a_used_up_deployment_is_not_the_default(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1))
    place(tmp_path, 2, EntryName(sequence=2, tries_left=0, tries_used=3))
    assert flags(tmp_path, 1) == {2: set(), 1: {"booted", "default"}}


def test_going_back_is_an_entry_with_a_newer_number(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=3))
    place(tmp_path, 2, EntryName(sequence=2))
    assert flags(tmp_path, 2) == {2: {"booted"}, 1: {"default", "staged"}}


def test_marks_are_files_under_state(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1))
    for name in ("pinned/1", f"held/{1:064x}"):
        path = tmp_path / "atoll/state" / name
        path.parent.mkdir(parents=True)
        path.touch()
    assert flags(tmp_path) == {1: {"default", "pinned", "held"}}


def test_leftovers_are_no_deployments(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1))
    (tmp_path / "atoll/deployments/new-2").mkdir()
    (tmp_path / "esp/loader/entries/atoll-9.conf").write_bytes(b"#inux /x\n")
    (tmp_path / "esp/loader/entries/other.conf").write_bytes(b"linux /other\n")
    assert flags(tmp_path) == {1: {"default"}}


def test_damage_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1))
    place(tmp_path, 3, None)
    (tmp_path / "atoll/deployments/3").rename(tmp_path / "atoll/deployments/2")
    state = read_state(machine(tmp_path))
    assert [each.number for each in state.deployments] == [1]
    assert "describes deployment 3" in state.damaged[0] and state.damaged_numbers == {2}
    (tmp_path / "atoll/deployments/2/deployment.json").unlink()
    assert "deployment 2 has no" in read_state(machine(tmp_path)).damaged[0]
    (tmp_path / "esp/loader/entries/atoll-7.conf").write_bytes(b"linux /x\nversion 8\n")
    (tmp_path / "esp/loader/entries/windows.conf").write_bytes(b"efi /w\n")
    state = read_state(machine(tmp_path))
    assert "atoll-7.conf" in state.damaged[1]
    assert state.menu.foreign == ("windows.conf",) and state.menu.last_sequence == 7


def test_where_no_machine_is_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_sysroot(tmp_path)
    assert "atoll install" not in (caught.value.hint or "")
    assert "mounted there" in (caught.value.hint or "")


def test_what_is_noted_of_entries_is_read_as_written() -> None:
    entries = (MenuEntry(name=EntryName(sequence=2, tries_left=1, tries_used=2), deployment=1),)
    assert parse_entry_list(format_entry_list(entries)) == entries
    for data in (b"", b"{}1", b"[1]", b'[{"entry": "atoll-1.conf"}]'):
        with pytest.raises(Damaged):
            parse_entry_list(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"deployment": "1"}'])
def test_a_damaged_mark_of_early_boot_is_told(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_booted(data)


def test_text_fits_a_narrow_terminal(tmp_path: Path) -> None:
    place(tmp_path, 1, EntryName(sequence=1), version="9" * 200)
    text = format_state(read_state(machine(tmp_path, 1)))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert json.dumps(as_json(read_state(machine(tmp_path, 1))))
    assert text.startswith("* 1")
