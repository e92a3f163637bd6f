"""The second merge: what changed on the machine between staging and the first boot.

Paths that did not change keep their staged version, and with it what a person resolved there
meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.machine.etc.etc_tree import Node, children_of, compare, is_directory, join
from atoll.machine.etc.merge import Merge

if TYPE_CHECKING:
    from atoll.machine.etc.merge import Conflict


def find_changed(recorded: Node, live: Node) -> tuple[str, ...]:
    """The paths that are no longer as they were recorded when the merge was staged."""
    return tuple(path for path, _ in compare(recorded, live))


def merge_changed(
    staged: Node, conflicts: tuple[Conflict, ...], fresh: Merge, changed: tuple[str, ...]
) -> Merge:
    """``staged`` with its ``conflicts``, and for the ``changed`` paths what ``fresh`` says."""
    result = _Composer(frozenset(changed)).compose("", staged, fresh.result)
    assert result is not None, "every view has an /etc"
    kept = [each for each in conflicts if not _concerns(each.path, changed)]
    new = [each for each in fresh.conflicts if _concerns(each.path, changed)]
    return Merge(
        result=result,
        decisions=tuple(each for each in fresh.decisions if _concerns(each.path, changed)),
        conflicts=tuple(sorted([*kept, *new], key=lambda each: each.path)),
        id_conflicts=fresh.id_conflicts,
    )


class _Composer:
    def __init__(self, changed: frozenset[str]) -> None:
        self._changed = changed
        self._touched = {"", *changed}
        for path in changed:
            parts = path.split("/")
            self._touched.update("/".join(parts[:count]) for count in range(1, len(parts)))

    def compose(self, path: str, staged: Node | None, fresh: Node | None) -> Node | None:
        if path not in self._touched:
            return staged
        gone = fresh is None and path not in self._changed
        if not is_directory(staged) or not (gone or is_directory(fresh)):
            # Whether the image's names below came in depended on what was here: decide again.
            return fresh
        children = {}
        for name in sorted(children_of(staged).keys() | children_of(fresh).keys()):
            pair = children_of(staged).get(name), children_of(fresh).get(name)
            child = self.compose(join(path, name), *pair)
            if child is not None:
                children[name] = child
        if not children:
            # An empty directory exists only for its names: whether it stays is decided again.
            return None if fresh is None else Node(fresh.entry)
        present = (fresh if path in self._changed else staged) or staged
        assert present is not None, "only directories are composed"
        return Node(present.entry, children)


def _concerns(path: str, changed: tuple[str, ...]) -> bool:
    """Whether ``path``, something above it or something below it is among ``changed``."""
    return any(
        path == other or other.startswith(f"{path}/") or path.startswith(f"{other}/")
        for other in changed
    )
