"""Recorded changes as a layer: a program that makes them again in a root, and its files. Pure.

The layer is a ``[[script]]`` of the machine file. Its source is a shell program of ``install``,
``ln`` and ``rm`` lines that a person can read; its inputs are the contents. All owners are names,
so that the ids may be others in a later version of the image.

``/usr/local`` belongs to the machine, so what was written there is kept in ``/usr/lib/captured``,
and a file in ``tmpfiles.d`` makes links to it at boot. ``system/usr/lib/atoll/refresh-caches``
removes links whose file is no longer there.
"""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.builder.finish.tmpfiles import quote_path, quote_rest
from atoll.builder.steps.scripts import INPUTS
from atoll.image.paths import CAPTURED
from atoll.layering.capture.model import CapturedPath, Happened, PathKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.layering.capture.places import Sorted

LOCAL = "/usr/local"
LOCAL_IN_TREE = f"/{CAPTURED}"
CONTENTS = "files"
"""The folder of the contents in the folder of a layer."""
MOST_FILES = 5000
MOST_BYTES = 64 << 20
"""Contents are files in the ``/etc`` of each deployment, and in memory while they are written."""
_AT_ONCE = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProgram:
    """``program`` makes the changes. ``contents`` are the paths in the root that was captured whose
    content it needs, ``made`` are further files, by their paths in the root."""

    program: str
    contents: tuple[CapturedPath, ...]
    made: Mapping[str, bytes] = field(default_factory=dict)


def find_obstacle(found: Sorted) -> str:
    """Why these changes cannot be a layer; empty if they can."""
    files = [each for each in (*found.image, *found.state) if each.kind is PathKind.FILE]
    size = sum(each.size for each in files if not each.link_of)
    if len(found.image) + len(found.state) > MOST_FILES:
        return f"it has more than {MOST_FILES} paths"
    if size > MOST_BYTES:
        return f"it has {size >> 20} MiB, and a layer at most {MOST_BYTES >> 20} MiB"
    return ""


def plan_layer(found: Sorted, name: str, command: str) -> LayerProgram:
    """``name`` is that of the layer, ``command`` what was run."""
    changes = [*found.image, *found.state]
    local = [each for each in changes if is_in_local(each.path)]
    changes = [_move(each, name) for each in changes if not is_in_local(each.path)]
    moved = [_move(each, name) for each in local if _is_moved(each)]
    made = {}
    if moved:
        lines = [_link_line(each, name) for each in local if _is_moved(each)]
        text = f"# Of the captured layer {name}: links to what it has for {LOCAL}.\n"
        made[f"/usr/lib/tmpfiles.d/captured-{name}.conf"] = (
            text + "".join(f"{line}\n" for line in lines if line)
        ).encode()
    program = format_program([*changes, *moved], made, found.commands, command)
    contents = [
        each
        for each in (*found.image, *found.state)
        if _has_content(each) and (not is_in_local(each.path) or _is_moved(each))
    ]
    return LayerProgram(program=program, contents=tuple(contents), made=made)


def is_in_local(path: str) -> bool:
    return path == LOCAL or path.startswith(f"{LOCAL}/")


def _is_moved(change: CapturedPath) -> bool:
    """Of /usr/local, directories of the base stay, and nothing of the machine's is removed."""
    if change.happened is Happened.REMOVED or change.path == LOCAL:
        return False
    return change.kind is not PathKind.DIRECTORY or change.happened is Happened.ADDED


def place_in_tree(path: str, name: str) -> str:
    """Where the layer ``name`` has ``path``."""
    return f"{LOCAL_IN_TREE}/{name}{path.removeprefix(LOCAL)}" if is_in_local(path) else path


def _move(change: CapturedPath, name: str) -> CapturedPath:
    target = change.target
    if change.kind is PathKind.SYMLINK and is_in_local(change.path):
        whole = posixpath.normpath(posixpath.join(change.parent, target))
        target = place_in_tree(whole, name)
    return replace(
        change,
        path=place_in_tree(change.path, name),
        target=target,
        link_of=place_in_tree(change.link_of, name) if change.link_of else "",
    )


def _link_line(change: CapturedPath, name: str) -> str:
    """The line of tmpfiles.d(5); of directories there is none, they come with what is in them."""
    if change.kind is PathKind.DIRECTORY:
        return ""
    target = quote_rest(place_in_tree(change.path, name))
    return f"L {quote_path(change.path)} - - - - {target}"


def _has_content(change: CapturedPath) -> bool:
    is_file = change.kind is PathKind.FILE and change.happened is not Happened.REMOVED
    return is_file and not change.link_of


def format_program(
    changes: Iterable[CapturedPath],
    made: Mapping[str, bytes],
    commands: Iterable[str],
    command: str,
) -> str:
    """The program that makes ``changes``, whose contents are at ``files/PATH`` among its inputs."""
    changes = tuple(changes)
    lines = [
        "#!/bin/sh",
        "# Recorded by atoll capture. It makes again what this did:",
        f"#   {one_line(command)}",
        "set -eu",
        f"cd {INPUTS}/{CONTENTS}" if made or any(map(_has_content, changes)) else "",
        *_removals(changes),
        *_directories(changes),
        *_files(changes, made),
        *_links(changes),
        *(
            _words("setcap", each.capabilities, each.path)
            for each in changes
            if each.capabilities and not each.link_of
        ),
        *(f"if command -v {each.split()[0]} > /dev/null; then {each}; fi" for each in commands),
    ]
    return "".join(f"{line}\n" for line in lines if line)


def _removals(changes: Iterable[CapturedPath]) -> Iterator[str]:
    for each in changes:
        if each.replaces or each.happened is Happened.REMOVED:
            yield _words("rm", "-rf", "--", each.path)


def _directories(changes: Iterable[CapturedPath]) -> Iterator[str]:
    for each in changes:
        if each.kind is PathKind.DIRECTORY and each.happened is not Happened.REMOVED:
            yield _words("install", "-d", *_attributes(each), "--", each.path)


def _files(changes: Iterable[CapturedPath], made: Mapping[str, bytes]) -> Iterator[str]:
    """Files of one directory with the same attributes are written at once."""

    def key(each: CapturedPath) -> tuple[str, ...]:
        return (each.parent, *_attributes(each))

    files = sorted((each for each in changes if _has_content(each)), key=key)
    for (parent, *attributes), group in groupby(files, key=key):
        names = [_input_of(each.path) for each in group]
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            yield _words("install", "-D", *attributes, "-t", parent, "--", *some)
    for path in made:
        yield _words("install", "-D", "-m", "0644", "-T", "--", path[1:], path)


def _links(changes: Iterable[CapturedPath]) -> Iterator[str]:
    for each in changes:
        if each.happened is Happened.REMOVED:
            continue
        if each.kind is PathKind.SYMLINK:
            yield _words("mkdir", "-p", "--", each.parent)
            yield _words("ln", "-sfT", "--", each.target, each.path)
            if (each.owner, each.group) != ("root", "root"):
                yield _words("chown", "-h", f"{each.owner}:{each.group}", "--", each.path)
        elif each.link_of:
            yield _words("mkdir", "-p", "--", each.parent)
            yield _words("ln", "-fT", "--", each.link_of, each.path)


def _attributes(change: CapturedPath) -> tuple[str, ...]:
    return ("-m", f"{change.mode:04o}", "-o", change.owner, "-g", change.group)


def _input_of(path: str) -> str:
    return path[1:]


def _words(*words: str) -> str:
    return shlex.join(words)
