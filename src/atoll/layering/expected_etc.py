"""The ``/etc`` that a tree gets from the rows and words of a recipe, without a build.

It says whether a recipe explains what differs on a machine, before the tree that it describes is
built. It knows files, links, units, accounts and their passwords, as the steps of a build make
them; not what packages and scripts would write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.layering.adopt_units import read_install
from atoll.machine.drift.etc_drift import EtcPair
from atoll.machine.drift.unit_drift import find_links
from atoll.machine.etc.etc_tree import Entry, Kind, Node, is_file, node_at, replaced, with_content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from atoll.machine.drift.tree_files import TreeFiles
    from atoll.recipe.model import File, Group, Recipe, User

EXPIRY = "0:99999:7::"
"""In shadow, what useradd sets by Debian's /etc/login.defs; for system accounts nothing."""
SYSTEM_EXPIRY = "::::"
_ADDED_DAY = "1"


def expect_etc(
    pair: EtcPair, recipe: Recipe, tree: TreeFiles, read_source: Callable[[str], bytes | None]
) -> Node:
    """The ``/etc`` of ``pair.tree`` with what ``recipe`` says. ``read_source`` gives the content of
    a local file that the recipe names; None where there is none."""
    etc = pair.tree
    for group in recipe.groups:
        etc = _with_group(etc, group)
    for user in recipe.users:
        etc = _with_user(etc, user, pair.live)
    for file in recipe.files:
        etc = _with_file(etc, file, read_source)
    units = recipe.units
    etc = _with_units(etc, "system", (units.enable, units.disable, units.mask), tree)
    lists = (units.user_enable, units.user_disable, units.user_mask)
    return _with_units(etc, "user", lists, tree)


def _with_file(etc: Node, file: File, read_source: Callable[[str], bytes | None]) -> Node:
    path = file.path.removeprefix("/etc/")
    if path == file.path:
        return etc
    if file.link is not None:
        return replaced(etc, path, Node(Entry(kind=Kind.SYMLINK, mode=0o777, content=file.link)))
    content = read_source(file.source) if file.source is not None else (file.text or "").encode()
    uid = _find_id(etc, "passwd", file.owner)
    gid = _find_id(etc, "group", file.group)
    if content is None or uid is None or gid is None:
        return etc
    entry = Entry(kind=Kind.FILE, mode=file.mode, uid=uid, gid=gid)
    return replaced(etc, path, Node(with_content(entry, content)))


def _with_units(
    etc: Node, manager: str, lists: tuple[tuple[str, ...], ...], tree: TreeFiles
) -> Node:
    enable, disable, mask = lists
    for unit in (*disable, *mask):
        for path in find_links(etc, manager, unit):
            etc = replaced(etc, path, None)
    for unit in enable:
        place = f"systemd/{manager}/{unit}"
        node = node_at(etc, place)
        if node is not None and node.entry.content == "/dev/null":
            etc = replaced(etc, place, None)
        install = read_install(manager, unit, EtcPair(tree=etc, live=etc), tree)
        for path in install.links if install else ():
            etc = _with_link(etc, path, f"/usr/lib/systemd/{manager}/{unit}")
    for unit in mask:
        etc = _with_link(etc, f"systemd/{manager}/{unit}", "/dev/null")
    return etc


def _with_link(etc: Node, path: str, target: str) -> Node:
    return replaced(etc, path, Node(Entry(kind=Kind.SYMLINK, mode=0o777, content=target)))


def _with_group(etc: Node, group: Group) -> Node:
    if group.gid is None or _find_id(etc, "group", group.name) is not None:
        return etc
    etc = _with_line(etc, "group", f"{group.name}:x:{group.gid}:")
    return _with_line(etc, "gshadow", f"{group.name}:!::")


def _with_user(etc: Node, user: User, live: Node) -> Node:
    rows = [row for row in _rows(etc, "passwd") if row[0] == user.name]
    if rows:
        row = [*rows[0][:4], user.gecos or rows[0][4], rows[0][5], user.shell]
        etc = _with_lines(
            etc, "passwd", [row if each[0] == user.name else each for each in _rows(etc, "passwd")]
        )
    elif user.uid is not None:
        etc = _with_new_user(etc, user, live)
    etc = _with_lines(etc, "group", [_joined(row, user) for row in _rows(etc, "group")])
    if user.password_hash is not None:
        shadow = [
            [row[0], user.password_hash, *row[2:]] if row[0] == user.name else row
            for row in _rows(etc, "shadow")
        ]
        etc = _with_lines(etc, "shadow", shadow)
    return etc


def _with_new_user(etc: Node, user: User, live: Node) -> Node:
    row = [user.name, "x", str(user.uid), str(user.uid), user.gecos, user.home, user.shell]
    etc = _with_line(etc, "passwd", ":".join(row))
    if _find_id(etc, "group", user.name) is None:
        etc = _with_line(etc, "group", f"{user.name}:x:{user.uid}:")
        etc = _with_line(etc, "gshadow", f"{user.name}:!::")
    expiry = SYSTEM_EXPIRY if user.system else EXPIRY
    etc = _with_line(etc, "shadow", f"{user.name}:!:{_ADDED_DAY}:{expiry}:")
    # Ranges of subordinate ids are chosen when the account is made, and stay the machine's.
    for name in ("subuid", "subgid"):
        for each in _rows(live, name):
            if each[0] == user.name:
                etc = _with_line(etc, name, ":".join(each))
    return etc


def _joined(row: list[str], user: User) -> list[str]:
    """A row of ``group``, with the user among the members where the recipe says so."""
    if len(row) != 4 or row[0] not in user.groups:
        return row
    members = [each for each in row[3].split(",") if each]
    return [*row[:3], ",".join([*members, *([] if user.name in members else [user.name])])]


def _find_id(etc: Node, file: str, name: str) -> int | None:
    for row in _rows(etc, file):
        if row[0] == name and len(row) > 2 and row[2].isdigit():
            return int(row[2])
    return None


def _rows(etc: Node, file: str) -> list[list[str]]:
    text = _read(etc, file) or ""
    return [line.split(":") for line in text.split("\n") if line]


def _read(etc: Node, file: str) -> str | None:
    """None for a file that is not there, or that this user may not read."""
    node = node_at(etc, file)
    if node is None or not is_file(node):
        return None
    try:
        return node.entry.read().decode(errors="surrogateescape")
    except PermissionError:
        return None


def _with_line(etc: Node, file: str, line: str) -> Node:
    return _with_lines(etc, file, [*_rows(etc, file), line.split(":")])


def _with_lines(etc: Node, file: str, rows: Iterable[list[str]]) -> Node:
    node = node_at(etc, file)
    if node is None or _read(etc, file) is None:
        return etc
    text = "".join(f"{':'.join(row)}\n" for row in rows)
    entry = with_content(node.entry, text.encode(errors="surrogateescape"))
    return replaced(etc, file, Node(entry))
