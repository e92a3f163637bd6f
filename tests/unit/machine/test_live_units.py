"""Which units a live change stops, starts, restarts and leaves, from two small trees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.machine.etc.etc_tree import Entry, Kind, Node, replaced
from atoll.machine.live.tree_view import TreeView
from atoll.machine.live.units import NEVER, UnitPlan, parse_units, plan_units
from atoll.store.tree_images import read_image_bytes
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from collections.abc import Mapping

UNITS = "usr/lib/systemd/system"
LISTS = "usr/lib/atoll/var/lib/dpkg/info"
ROOT = Path(__file__).parents[3]
TREE: dict[str, bytes] = {
    **files_of(FACTS),
    f"{UNITS}/ssh.service": b"[Service]\n",
    f"{UNITS}/ssh.socket": b"[Socket]\n",
    f"{UNITS}/dbus.service": b"[Service]\n",
    f"{UNITS}/once.service": b"[Service]\n",
    f"{UNITS}/run@.service": b"[Service]\n",
    f"{UNITS}/multi-user.target": b"[Unit]\n",
    "usr/sbin/sshd": b"sshd 1",
    "usr/bin/run": b"run 1",
    f"{LISTS}/runner.list": b"/.\n/bin/run\n",
}
SHOWN = f"""Id=ssh.service
Names=ssh.service sshd.service
ActiveState=active
FragmentPath=/{UNITS}/ssh.service
DropInPaths=/etc/systemd/system/ssh.service.d/mine.conf
Type=notify
ExecStart={{ path=/usr/sbin/sshd ; argv[]=/usr/sbin/sshd -D /usr/share/script ; ignore_errors=no }}

Id=ssh.socket
ActiveState=active
FragmentPath=/{UNITS}/ssh.socket

Id=dbus.service
ActiveState=active
FragmentPath=/{UNITS}/dbus.service

Id=once.service
ActiveState=active
FragmentPath=/{UNITS}/once.service
Type=oneshot

Id=run@7.service
ActiveState=active
FragmentPath=/{UNITS}/run@.service
ExecStart={{ path=/bin/run ; argv[]=/bin/run ; ignore_errors=no }}

Id=session-1.scope
ActiveState=active
FragmentPath=/run/systemd/transient/session-1.scope

Id=multi-user.target
ActiveState=active
FragmentPath=/{UNITS}/multi-user.target
"""


def etc(**files: str) -> Node:
    root = Node(Entry(kind=Kind.DIRECTORY, mode=0o755))
    for path, content in files.items():
        root = replaced(root, path, Node(Entry(kind=Kind.FILE, mode=0o644, content=content)))
    return root


def view(path: Path, files: Mapping[str, bytes], settings: Node | None = None) -> TreeView:
    store, tree = make_store(path, dict(files))
    return TreeView(store=store, image=read_image_bytes(store, tree), etc=settings or etc())


def planned(
    path: Path, changes: Mapping[str, bytes | None], packages: tuple[str, ...] = (), own: str = ""
) -> UnitPlan:
    merged = {**TREE, **changes}
    new = {name: content for name, content in merged.items() if content is not None}
    old_view, new_view = view(path / "old", TREE), view(path / "new", new)
    return plan_units(parse_units(SHOWN), old_view, new_view, packages, own=own)


def test_nothing_changed_and_nothing_is_touched(tmp_path: Path) -> None:
    assert planned(tmp_path, {}) == UnitPlan()


def test_a_changed_unit_or_program_restarts_its_service(tmp_path: Path) -> None:
    for number, path in enumerate((f"{UNITS}/ssh.service", "usr/sbin/sshd", "usr/share/script")):
        found = planned(tmp_path / str(number), {path: b"2"})
        assert found == UnitPlan(restart=("ssh.service",)), path


def test_a_package_whose_program_is_as_it_was_restarts_its_service_too(tmp_path: Path) -> None:
    assert planned(tmp_path, {}, ("runner",)) == UnitPlan(restart=("run@7.service",))


def test_a_drop_in_of_the_person_counts(tmp_path: Path) -> None:
    old = view(tmp_path / "old", TREE)
    path = "systemd/system/ssh.service.d/mine.conf"
    new = replace(old, etc=etc(**{path: "changed"}))
    assert plan_units(parse_units(SHOWN), old, new, ()).restart == ("ssh.service",)


def test_sockets_dbus_oneshots_and_the_own_unit_stay(tmp_path: Path) -> None:
    changed = {f"{UNITS}/{name}": b"2" for name in ("ssh.socket", "dbus.service", "once.service")}
    found = planned(tmp_path, {**changed, "usr/sbin/sshd": b"2"}, own="ssh.service")
    assert (found.restart, found.stop, found.start) == ((), (), ())
    assert dict(found.kept) == {
        "dbus.service": NEVER["dbus.service"],
        "once.service": "it runs once at each boot",
        "ssh.service": "this change was asked for in it",
        "ssh.socket": "its listeners stay open until it is stopped",
    }


def test_what_is_gone_stops_and_what_is_newly_enabled_starts(tmp_path: Path) -> None:
    gone = {
        f"{UNITS}/ssh.service": None,
        f"{UNITS}/ssh.socket": None,
        f"{UNITS}/run@.service": None,
    }
    new = {
        f"{UNITS}/new.service": b"[Service]\n",
        f"{UNITS}/multi-user.target.wants/new.service": b"",
        f"{UNITS}/multi-user.target.wants/absent.service": b"",
        f"{UNITS}/graphical.target.wants/ssh.service": b"",
    }
    found = planned(tmp_path, {**gone, **new})
    assert found.stop == ("run@7.service", "ssh.service", "ssh.socket")
    assert found.start == ("new.service",) and found.restart == ()


@pytest.mark.parametrize("pattern", [name for name in NEVER if name.endswith(".service")])
def test_the_reference_lists_what_never_restarts(pattern: str) -> None:
    text = (ROOT / "docs/reference/live.md").read_text()
    assert pattern.replace("*", "") in text
