"""The public status of the running machine, in ``/run/atoll/status.json``.

Only root may enter ``/sysroot/atoll``, for its objects include files that are 0600. What ``status``
and ``plan`` show to every user is written here by every operation that changes the machine, and
once in each boot (``atoll status --publish``)::

    {"format": 1, "when": 1790000000, "booted": 2, "follows": "docker://…", "layers": ["<64 hex>"],
     "deployments": [{"number": 2, "tree": "<64 hex>", …, "booted": true, "hold": null,
                      "layers": ["htop"]}],
     "entries": [{"entry": "atoll-7.conf", "deployment": 2}], "foreign": [], "damaged": [],
     "no_way_back": [], "beside": "", "key_slots": [], "signed": ["kernel"],
     "unsigned": ["boot loader"]}

``layers`` are those of images that the machine has, by diff_id.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.base.fields import Flaw, parse_json_fields
from atoll.base.ids import TreeId, is_hex_digest
from atoll.host.fs import read_if_there
from atoll.machine.boot.boot_entries import BootMenu, MenuEntry
from atoll.machine.boot.boot_entry import format_entry_name, parse_entry_name
from atoll.machine.boot.secure_boot import Signatures
from atoll.machine.deployment import Deployment, is_number
from atoll.machine.deployments.flags import Hold
from atoll.machine.deployments.state import DeploymentState, MachineState

if TYPE_CHECKING:
    from atoll.base.fields import Fields
    from atoll.machine.deployments.sysroot import Sysroot

STATUS_FILE = Path("/run/atoll/status.json")
FORMAT = 1
FLAGS = ("booted", "default", "staged", "pinned", "blessed", "fallback", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicState:
    """The state of the machine at the time ``when``, in seconds since 1970. ``follows`` is the
    image that upgrades use, empty if there is none."""

    when: int
    state: MachineState
    follows: str
    layers: frozenset[str]
    no_way_back: tuple[str, ...] = ()
    """Why there is no way back (``way_back``); empty if there is one."""
    beside: str = ""
    """The older system that this one was installed beside; empty where there is none."""
    key_slots: tuple[str, ...] = ()
    """What opens the encrypted state partition; empty where it is not encrypted."""
    signatures: Signatures = field(default_factory=Signatures)
    """Of the boot loader and the kernel of the deployment that runs."""


def may_read_machine(sysroot: Sysroot) -> bool:
    """Whether this process may read the machine itself."""
    return sysroot.booted is None or os.access(sysroot.atoll, os.R_OK | os.X_OK)


def read_public_status(place: Path = STATUS_FILE) -> PublicState:
    """Raises NotFound if it was not written in this boot yet, or Damaged."""
    data = read_if_there(place)
    if data is None:
        raise NotFound(
            "the public status of this machine is not written yet",
            hint="wait until the system is up, or try again with sudo",
        )
    return parse_public_status(data, where=str(place))


def format_public_status(public: PublicState) -> bytes:
    state = public.state
    document = {
        "format": FORMAT,
        "when": public.when,
        "booted": state.booted,
        "follows": public.follows,
        "layers": sorted(public.layers),
        "deployments": [_deployment_as_json(each) for each in state.deployments],
        "entries": [
            {"entry": format_entry_name(each.name), "deployment": each.deployment}
            for each in state.menu.entries
        ],
        "foreign": list(state.menu.foreign),
        "damaged": list(state.damaged),
        "damaged_numbers": [str(number) for number in sorted(state.damaged_numbers)],
        "held": [
            {"tree": tree, **_hold_as_json(hold)} for tree, hold in sorted(state.held.items())
        ],
        "no_way_back": list(public.no_way_back),
        "beside": public.beside,
        "key_slots": list(public.key_slots),
        "signed": list(public.signatures.signed),
        "unsigned": list(public.signatures.unsigned),
    }
    # File names may not be UTF-8, but the file must be.
    text = json.dumps(document, ensure_ascii=False).encode(errors="replace")
    return text + b"\n"


def parse_public_status(data: bytes, *, where: str) -> PublicState:
    """Raises Damaged."""
    fields = parse_json_fields(data, file=where)
    fields.require_format(FORMAT)
    deployments = tuple(map(_parse_deployment, fields.each("deployments")))
    entries = tuple(
        MenuEntry(name=name, deployment=each.integer("deployment"))
        for each in fields.each("entries")
        if (name := parse_entry_name(each.string("entry"))) is not None
    )
    state = MachineState(
        deployments=deployments,
        menu=BootMenu(entries=entries, foreign=fields.strings("foreign")),
        damaged=fields.strings("damaged"),
        damaged_numbers=frozenset(map(int, fields.strings("damaged_numbers", check=_check_number))),
        booted=None if fields.table.get("booted") is None else fields.integer("booted"),
        applied=next((each.number for each in deployments if each.running), None),
        held={_parse_tree(each): _parse_hold(each) for each in fields.each("held")},
    )
    return PublicState(
        when=fields.integer("when"),
        state=state,
        follows=fields.string("follows"),
        layers=frozenset(fields.strings("layers")),
        no_way_back=fields.strings("no_way_back"),
        beside=fields.string("beside", ""),
        key_slots=fields.strings("key_slots"),
        signatures=Signatures(signed=fields.strings("signed"), unsigned=fields.strings("unsigned")),
    )


def _check_number(text: str) -> Flaw | None:
    return None if is_number(text) else Flaw("is not a deployment number")


def _parse_tree(fields: Fields) -> TreeId:
    tree = fields.string("tree")
    if not is_hex_digest(tree):
        fields.flaw("tree", "is not a tree digest")
    return TreeId(tree)


def _deployment_as_json(found: DeploymentState) -> dict[str, object]:
    made, hold = found.deployment, found.hold
    return {
        "number": made.number,
        "tree": made.tree,
        "name": made.name,
        "version": made.version,
        "kernel": made.kernel,
        "pair": made.pair,
        **{flag: getattr(found, flag) for flag in FLAGS},
        "flaw": found.flaw,
        "layers": list(found.layers),
        "hold": None if hold is None else _hold_as_json(hold),
    }


def _hold_as_json(hold: Hold) -> dict[str, object]:
    return {
        "deployment": hold.deployment,
        "version": hold.version,
        "why": hold.why,
        "when": hold.when,
    }


def _parse_hold(fields: Fields) -> Hold:
    return Hold(
        deployment=fields.integer("deployment"),
        version=fields.string("version"),
        why=fields.string("why"),
        when=fields.integer("when"),
    )


def _parse_deployment(fields: Fields) -> DeploymentState:
    tree = _parse_tree(fields)
    # After a live change the status may be that of an Atoll that had no such changes.
    flags = {flag: fields.boolean(flag, False) for flag in FLAGS}
    found = DeploymentState(
        deployment=Deployment(
            number=fields.integer("number"),
            tree=tree,
            name=fields.string("name"),
            version=fields.string("version"),
            kernel=fields.string("kernel"),
            pair=fields.string("pair"),
        ),
        booted=flags["booted"],
        default=flags["default"],
        staged=flags["staged"],
        pinned=flags["pinned"],
        blessed=flags["blessed"],
        fallback=flags["fallback"],
        running=flags["running"],
        flaw=fields.string("flaw"),
        layers=fields.strings("layers"),
    )
    if fields.table.get("hold") is None:
        return found
    return replace(found, hold=_parse_hold(fields.within("hold")))
