"""Keep what was captured: as a layer, or as a script that runs at each build; and take it out."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from atoll.base.errors import Refused
from atoll.host.fs import read_regular
from atoll.layering.adoption import AdoptedWord
from atoll.layering.capture.layer import (
    CONTENTS,
    LOCAL,
    LOCAL_IN_TREE,
    MOST_BYTES,
    MOST_FILES,
    find_obstacle,
    is_in_local,
    place_in_tree,
    plan_layer,
)
from atoll.layering.capture.record import (
    FOLDER,
    RECORD,
    Addition,
    add_captured,
    format_record,
    parse_record,
    place_of,
    remove_captured,
)
from atoll.layering.capture.run_captured import has_program
from atoll.layering.change_machine import ChangeRequest, Edited, find_situation
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_state
from atoll.machine.etc.etc_tree import is_file, node_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from atoll.layering.capture.record import Record
    from atoll.layering.capture.run_captured import CapturedChanges
    from atoll.layering.change_machine import MachineBase
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node

VERB = "capture"
_MOVE_LOCAL = rf"""
# {LOCAL} belongs to the machine. What was written there becomes part of the image.
mkdir -p {LOCAL_IN_TREE}/NAME /usr/lib/tmpfiles.d
cp -a {LOCAL}/. {LOCAL_IN_TREE}/NAME/
cd {LOCAL}
find . '(' -type f -o -type l ! -xtype d ')' -printf '%P\n' | LC_ALL=C sort |
    sed 's|[\\"]|\\&|g; s|%|%%|g; s|.*|L "{LOCAL}/&" - - - - {LOCAL_IN_TREE}/NAME/&|' \
    > /usr/lib/tmpfiles.d/captured-NAME.conf
find . '(' -type f -o -type l ! -xtype d ')' -delete
"""


def find_obstacles(found: CapturedChanges) -> dict[str, str]:
    """Why it cannot be kept as a ``layer`` or a ``script``; empty where it can."""
    return {"layer": find_layer_obstacle(found), "script": find_script_obstacle(found)}


def find_layer_obstacle(found: CapturedChanges) -> str:
    """Why these changes cannot be kept as a layer; empty if they can be."""
    obstacle = find_script_obstacle(found)
    if obstacle:
        return obstacle
    if found.has_more:
        return f"it changed more than {MOST_FILES} paths"
    paths = (*found.sorted.image, *found.sorted.state)
    if any(each.capabilities for each in paths) and not has_program(found.run.root, "setcap"):
        return "a file has capabilities, and setcap (package libcap2-bin) is not in the image"
    return find_obstacle(found.sorted) or (
        "" if paths or found.rows or found.unit_words else _NOTHING
    )


_NOTHING = "nothing of what it did belongs to an image"


def find_script_obstacle(found: CapturedChanges) -> str:
    """Why it cannot be a script of the machine file; empty if it can be."""
    if found.packages:
        names = ", ".join(found.packages[:5])
        return f"it installs or removes packages: {names}"
    return ""


def keep_as_layer(found: CapturedChanges, name: str) -> ChangeRequest:
    """Raises Refused, or OSError."""
    _refuse(find_layer_obstacle(found), found)
    layer = plan_layer(found.sorted, name, found.run.command)
    files: dict[str, bytes] = {"program": layer.program.encode()}
    modes = {"program": 0o600}
    for each in layer.contents:
        place = f"{CONTENTS}{place_in_tree(each.path, name)}"
        files[place] = read_regular(found.run.root / each.path[1:], limit=MOST_BYTES)
        if not each.is_readable_by_all:
            modes[place] = 0o600
    files |= {f"{CONTENTS}{path}": content for path, content in layer.made.items()}
    script: dict[str, object] = {"source": f"{FOLDER}/{name}/program"}
    if len(files) > 1:
        script["inputs"] = [f"{FOLDER}/{name}/{CONTENTS}"]
    addition = Addition(
        name=name,
        script=script,
        rows=found.rows,
        words=(*found.unit_words, *_state_words(found)),
    )
    return _request(found, addition, files, modes)


def keep_as_script(found: CapturedChanges, name: str) -> ChangeRequest:
    """Raises Refused, or OSError."""
    _refuse(find_script_obstacle(found), found)
    files, modes = _read_inputs(found)
    text = f"{shlex.join(found.run.words)}\n"
    if any(is_in_local(each.path) for each in found.sorted.image):
        text += _MOVE_LOCAL.replace("NAME", name)
    script: dict[str, object] = {"text": text}
    if found.run.inputs:
        script["inputs"] = [f"{FOLDER}/{name}/inputs/{each}" for each in found.run.inputs]
    if found.run.network:
        script["network"] = True
    addition = Addition(name=name, script=script, rows=found.rows, words=_state_words(found))
    return _request(found, addition, files, modes)


def _request(
    found: CapturedChanges, addition: Addition, files: Mapping[str, bytes], modes: Mapping[str, int]
) -> ChangeRequest:
    folder = f"{FOLDER}/{addition.name}"

    def edit(text: str, _machine: MachineBase) -> Edited:
        after, record = add_captured(text, addition, found.run.command)
        return Edited(text=after, files={f"{folder}/{RECORD}": format_record(record)})

    return ChangeRequest(
        verb=VERB,
        edit=edit,
        files={f"{folder}/{name}": content for name, content in files.items()},
        # The command may have a password or a token among its words.
        modes={f"{folder}/{name}": mode for name, mode in {**modes, RECORD: 0o600}.items()},
    )


def make_removal(sysroot: Sysroot, name: str) -> ChangeRequest:
    """Take a layer out of the machine file. Its files stay beside it: ``cancel`` and ``rollback``
    bring back a machine file that names them."""
    record = read_record(sysroot, name)
    stays = f"its files stay in /etc/{place_of(name)}: an earlier machine file may need them"

    def edit(text: str, _machine: MachineBase) -> Edited:
        return Edited(text=remove_captured(text, name, record), notes=(stays,))

    return ChangeRequest(verb=VERB, edit=edit)


def read_record(sysroot: Sysroot, name: str) -> Record | None:
    """None without one. Raises Damaged or Busy."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        return read_record_in(find_situation(machine, read_state(machine)).live, name)


def read_record_in(etc: Node, name: str) -> Record | None:
    """None without one. Raises Damaged."""
    place = f"{place_of(name)}/{RECORD}"
    node = node_at(etc, place)
    if node is None or not is_file(node):
        return None
    return parse_record(node.entry.read(), file=f"/etc/{place}")


def _state_words(found: CapturedChanges) -> tuple[AdoptedWord, ...]:
    return tuple(
        AdoptedWord(name=word, path=("var", "state"), word=word) for word in found.state_rules
    )


def _read_inputs(found: CapturedChanges) -> tuple[dict[str, bytes], dict[str, int]]:
    """Raises Refused for what cannot be kept beside the machine file."""
    files: dict[str, bytes] = {}
    modes: dict[str, int] = {}
    left = MOST_BYTES
    for name, path in found.run.inputs.items():
        for place, file in _walk(path, f"inputs/{name}"):
            if file.is_symlink() or not file.is_file():
                raise Refused(
                    f"{file} is no regular file, so it cannot be kept for a script",
                    hint="put the directory into an archive that the script unpacks",
                )
            if file.stat().st_size > left or len(files) >= MOST_FILES:
                raise Refused(
                    f"the inputs are more than {MOST_BYTES >> 20} MiB or {MOST_FILES} files",
                    hint="let the script download them, with --network",
                )
            files[place] = read_regular(file, limit=MOST_BYTES)
            left -= len(files[place])
            if os.access(file, os.X_OK):
                modes[place] = 0o755
    return files, modes


def _walk(path: Path, place: str) -> Iterator[tuple[str, Path]]:
    path = path.resolve()
    if not path.is_dir():
        yield place, path
        return
    for each in sorted(path.rglob("*")):
        if each.is_symlink() or not each.is_dir():
            yield f"{place}/{each.relative_to(path)}", each


def require_keepable(found: CapturedChanges) -> None:
    """Raises Refused for what can be kept in no way."""
    if all(find_obstacles(found).values()):
        _refuse(find_script_obstacle(found), found)


def _refuse(obstacle: str, found: CapturedChanges) -> None:
    """Raises Refused if there is an ``obstacle``."""
    if found.packages:
        names = " ".join(found.packages[:5])
        hint = f"packages have a verb of their own: atoll add {names}, or atoll add ./FILE.deb"
        raise Refused(f"nothing of this can be kept: {obstacle}", hint=hint)
    if obstacle:
        hint = "nothing was changed; a script is run again at each build: --keep script"
        raise Refused(f"this cannot be kept: {obstacle}", hint=hint)
