"""What an image says to machines, and who wins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged
from atoll.base.report import NullReporter
from atoll.image.policy import Policy, parse_policy
from atoll.machine.boot.boot_entry import EntryName, format_entry_name
from atoll.machine.deployments.retention import DEFAULT_KEEP
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.etc_tree import Entry, Kind, Node, with_content
from atoll.machine.machine_file import read_machine_file
from atoll.machine.upgrade import UpgradeRequest, upgrade
from atoll.tree.etc_rules import Winner, winner
from tests.machines import Maker, system_files, write

if TYPE_CHECKING:
    from pathlib import Path


def policy(**more: object) -> bytes:
    return json.dumps({"format": 1, "keep": None, "etc": [], "update": {}} | more).encode()


def etc(text: str | None) -> Node:
    directory = Entry(kind=Kind.DIRECTORY, mode=0o755)
    if text is None:
        return Node(directory)
    file = with_content(Entry(kind=Kind.FILE, mode=0o644), text.encode())
    return Node(directory, {"atoll": Node(directory, {"machine.toml": Node(file)})})


def test_what_an_image_says_holds_where_the_owner_says_nothing() -> None:
    said = parse_policy(policy(keep=5, etc=[["motd", "image"]]))
    found = read_machine_file(etc(None), said)
    assert found.deployments == 5
    assert winner(found.rules, "motd") is Winner.IMAGE
    assert read_machine_file(etc(None), Policy()).deployments == DEFAULT_KEEP


def test_the_owner_wins() -> None:
    said = parse_policy(policy(keep=5, etc=[["motd", "image"], ["ssh/**", "image"]]))
    own = 'schema = 1\n[keep]\ndeployments = 2\n[etc]\n"motd" = "local"\n'
    found = read_machine_file(etc(own), said)
    assert found.deployments == 2
    assert winner(found.rules, "motd") is Winner.LOCAL
    assert winner(found.rules, "ssh/x") is Winner.IMAGE


def test_no_image_keeps_less_than_a_fallback() -> None:
    assert read_machine_file(etc(None), Policy(keep=1)).deployments == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        policy(format=2),
        policy(keep="3"),
        policy(etc={}),
        policy(etc=[["a"]]),
        policy(etc=[["a", "nobody"]]),
        policy(etc=[["/usr/x", "image"]]),
    ],
)
def test_a_wrong_policy_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_policy(data)


def image_files(version: str, title: str, **said: object) -> dict[str, str]:
    names = system_files("hello", version, "6.12-one", {"bash": "5.2"})
    facts = json.loads(names["usr/lib/atoll/image.json"]) | {"title": title, "timeout": 7}
    return {
        "usr/lib/atoll/image.json": json.dumps(facts),
        "usr/lib/atoll/policy.json": policy(**said).decode(),
        "etc/motd": f"{version}\n",
    }


def test_machines_do_as_their_image_says(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    first = maker.publish("1", image_files("1", "A Reef", keep=2, etc=[["motd", "image"]]))
    machine = maker.install(tmp_path / "machine", first)
    assert "timeout 7\n" in (machine.esp / "loader/loader.conf").read_text()
    write(machine.deployments / "1/etc/upper", {"motd": "mine\n"})
    for number in range(2, 5):
        said = image_files(str(number), f"Reef {number}", keep=2, etc=[["motd", "image"]])
        maker.publish(str(number), said)
        upgrade(machine, UpgradeRequest(verb="upgrade"), NullReporter())
        for menu_entry in read_state(machine).menu.entries_of(number):
            plain = format_entry_name(EntryName(sequence=menu_entry.name.sequence))
            (machine.entries / format_entry_name(menu_entry.name)).rename(machine.entries / plain)
    state = read_state(machine)
    assert [each.number for each in state.deployments] == [4, 3]
    titles = [each.entry.title for each in state.menu.entries if each.entry]
    assert titles == ["Reef 4 4 (4)", "Reef 3 3 (3)"]
    assert not (machine.deployments / "4/etc/upper/motd").exists()
