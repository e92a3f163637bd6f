"""Run a program in a sandbox over the tree that boots next, and find what it changed.

::

    tree that boots next ─check out→ root (cached) ─┐
                                     empty upper ───┴ overlay ← the program, in the sandbox
                                            └─→ changed paths, accounts, units (CapturedChanges)

Nothing of the machine is visible to the program but the inputs that are named. The upper directory
is removed with the block, so that what is kept has to be read inside of it.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, NotFound, ProgramFailed, UsageError
from atoll.builder.base_image import check_out_root, read_image_info
from atoll.builder.cache import KEPT_ON_MACHINE, opened_cache, step_mounted
from atoll.builder.finish.var_rules import merge_rules
from atoll.builder.steps.scripts import INPUTS
from atoll.debian.dpkg_database import read_owners, read_packages
from atoll.debian.install import resolver_binds
from atoll.host.fs import umask
from atoll.host.in_root import exists_in_root, in_root
from atoll.host.line_pipe import line_pipe
from atoll.host.mount import enter_private_mounts
from atoll.host.sandbox import Bind, Sandbox, keeping_free
from atoll.host.userns import become_root
from atoll.layering.adopt import keep_valid
from atoll.layering.adopt_accounts import adopt_accounts
from atoll.layering.adopt_files import AccountNames
from atoll.layering.adopt_units import adopt_units
from atoll.layering.capture.places import Sorted, find_state_rules, sort_changes
from atoll.layering.capture.read_changes import MOST, NamesOfIds, read_changes
from atoll.layering.capture.record import list_captured, place_of
from atoll.layering.change_machine import find_situation
from atoll.layering.edit_machine_file import NEW
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.state import read_state
from atoll.machine.drift.account_drift import GroupRow, find_account_drift, read_accounts_of
from atoll.machine.drift.etc_drift import EtcPair
from atoll.machine.drift.model import AccountKind
from atoll.machine.drift.tree_files import MountedTree
from atoll.machine.drift.unit_drift import find_unit_drift
from atoll.machine.etc.etc_tree import EtcChange, children_of, node_at
from atoll.machine.etc.read import read_directory
from atoll.recipe.language.check_paths import check_home
from atoll.recipe.language.check_values import check_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.layering.adoption import AdoptedRow, AdoptedWord, LeftOut
    from atoll.layering.change_machine import Situation
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.account_drift import AccountRows
    from atoll.machine.drift.model import AccountDrift, UnitDrift

_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
_NO_GROUP = "nogroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """``words`` are the command. ``inputs`` are local files and directories for it, besides those
    that its words name. ``name`` is what it will be kept under, if a person chose that."""

    words: tuple[str, ...]
    inputs: tuple[Path, ...] = ()
    network: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedRun:
    """A command that ran in an overlay. ``words`` have the paths that ``inputs`` have in the
    sandbox, by their names there. ``lower`` is the tree below, ``root`` what the command saw, and
    ``upper`` has its changes."""

    words: tuple[str, ...]
    inputs: Mapping[str, Path]
    network: bool
    status: int
    lower: Path
    root: Path
    upper: Path

    @property
    def command(self) -> str:
        return shlex.join(self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedChanges:
    """What ``run`` changed. ``packages`` were installed or removed. ``rows`` and ``unit_words`` are
    what the recipe language has for accounts and units; ``state_rules`` are words for
    ``[var] state``. ``account_left`` cannot be said in a recipe. ``over`` is the title of the tree
    that it ran over, ``has_more``: not all paths were read. ``layers`` are the captured layers of
    the machine file, ``taken`` the names of folders of earlier ones."""

    run: CapturedRun
    over: str
    sorted: Sorted
    units: tuple[UnitDrift, ...]
    unit_words: tuple[AdoptedWord, ...]
    accounts: tuple[AccountDrift, ...]
    rows: tuple[AdoptedRow, ...]
    account_left: tuple[LeftOut, ...]
    state_rules: tuple[str, ...]
    packages: tuple[str, ...]
    has_more: bool
    layers: tuple[str, ...]
    taken: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all was changed."""
        found = self.sorted
        paths = (found.image, found.state, found.person, found.dropped, found.left_out)
        return not (any(paths) or self.units or self.accounts or self.packages)


@contextmanager
def captured(
    sysroot: Sysroot, request: CaptureRequest, reporter: Reporter, show: Callable[[str], None]
) -> Iterator[CapturedChanges]:
    """Run the command; ``show`` gets each line that it prints. Raises NotFound, UsageError, Busy,
    NoSpace, Damaged, MissingPrivilege, or Refused for a machine without a deployment."""
    with locked_machine(sysroot, esp=False, published=False) as machine:
        here = find_situation(machine, read_state(machine))
    _check_name(request.name, list_captured(here.text or NEW))
    become_root("running a program in a sandbox")
    enter_private_mounts()
    deployment = here.newest.deployment
    with umask(0o022), opened_cache(here.store.root / "cache", KEPT_ON_MACHINE) as cache:
        lower = check_out_root(
            cache, here.store, reporter, deployment.tree, title=f"{deployment.title}"
        )
        inputs, words = find_inputs(request, lower)
        with step_mounted(cache, [lower]) as (root, upper):
            sandbox = _make_sandbox(root, inputs, network=request.network)
            with keeping_free(here.store.root):
                status = _run(sandbox, words, show)
            ran = CapturedRun(
                words=words,
                inputs=inputs,
                network=request.network,
                status=status,
                lower=lower,
                root=root,
                upper=upper,
            )
            yield _describe(here, ran)


def _check_name(name: str | None, layers: tuple[str, ...]) -> None:
    """Raises UsageError when the name is taken: before a program runs for minutes."""
    if name in layers:
        raise UsageError(
            f"there is a captured layer {name} already",
            hint=f"choose another --name, or first: atoll capture --remove {name}",
        )


def find_inputs(request: CaptureRequest, root: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The inputs by their names in the sandbox, and the words of the command that name them there.

    A word that is the path of something here, and of nothing in ``root``, is an input. Raises
    NotFound or UsageError.
    """
    from pathlib import Path as RealPath

    inputs: dict[str, Path] = {}
    for path in request.inputs:
        if not path.exists():
            raise NotFound(f"there is no file or directory {path}")
        _add_input(inputs, path)
    words = []
    for word in request.words:
        path = RealPath(word)
        is_path = "/" in word and not word.startswith("-") and os.path.lexists(path)
        if is_path and not (path.is_absolute() and exists_in_root(root, word)):
            _add_input(inputs, path)
            word = f"{INPUTS}/{path.resolve().name if path.name in ('', '.', '..') else path.name}"
        words.append(word)
    return inputs, tuple(words)


def _add_input(inputs: dict[str, Path], path: Path) -> None:
    path = path.absolute()
    name = path.resolve().name if path.name in ("", ".", "..") else path.name
    if inputs.setdefault(name, path) != path:
        raise UsageError(f"two inputs have the name {name}", hint="rename one of them")


def _make_sandbox(root: Path, inputs: Mapping[str, Path], *, network: bool) -> Sandbox:
    binds = tuple(
        Bind(source=path.resolve(), target=f"{INPUTS}/{name}") for name, path in inputs.items()
    )
    if network:
        binds = (*resolver_binds(root), *binds)
    return Sandbox(root=root, binds=binds, environment=_ENVIRONMENT, network=network)


def _run(sandbox: Sandbox, words: tuple[str, ...], show: Callable[[str], None]) -> int:
    """The exit status. Raises AtollError when the sandbox could not be made."""
    try:
        with line_pipe(show) as output:
            sandbox.run(words, log=output)
    except ProgramFailed as error:
        if error.status == 125:
            raise AtollError(
                "the sandbox could not be made; what it said is above",
                hint="look at what the kernel says: journalctl -k",
            ) from error
        return error.status
    return 0


def _describe(here: Situation, ran: CapturedRun) -> CapturedChanges:
    deployment = here.newest.deployment
    before, after = (read_directory(root / "etc").root for root in (ran.lower, ran.root))
    accounts_after = read_accounts_of(after)
    names = AccountNames(
        users={row.uid: row.name for row in accounts_after.users.values()},
        groups={row.gid: row.name for row in accounts_after.groups.values()},
    )
    database = in_root(ran.lower, "var/lib/dpkg")
    ids = NamesOfIds(users=names.users, groups=names.groups, packages=read_owners(database))
    changes = read_changes(ran.lower, ran.upper, ids)
    units = find_unit_drift(before, after)
    pair = EtcPair(tree=before, live=after)
    unit_words, said = _find_unit_words(units, pair, ran.root, names)
    rules = merge_rules(read_image_info(here.store, deployment.tree).var)
    found = sort_changes(changes[:MOST], rules, said)
    accounts = without_own_groups(find_account_drift(read_accounts_of(before), accounts_after))
    rows, left = find_account_rows(accounts, accounts_after, {each.path for each in changes})
    return CapturedChanges(
        run=ran,
        over=deployment.title,
        sorted=found,
        units=units,
        unit_words=unit_words,
        accounts=accounts,
        rows=rows,
        account_left=left,
        state_rules=find_state_rules(found.state, rules),
        packages=_compare_packages(database, in_root(ran.root, "var/lib/dpkg")),
        has_more=len(changes) > MOST,
        layers=list_captured(here.text or NEW),
        taken=frozenset(children_of(node_at(here.live, place_of("").rstrip("/")))),
    )


def _find_unit_words(
    units: tuple[UnitDrift, ...], pair: EtcPair, root: Path, names: AccountNames
) -> tuple[tuple[AdoptedWord, ...], frozenset[str]]:
    """Words of ``[units]``, and the paths of the links that these say already. Where the language
    has no word for a link, it stays among the files."""
    words: list[AdoptedWord] = []
    said: set[str] = set()
    for unit in units:
        found = adopt_units((unit,), pair, MountedTree(root), names)
        if found.rows or found.left or not found.words or check_unit(unit.unit):
            continue
        words += found.words
        said |= {f"/etc/{path}" for path in (*unit.added, *unit.removed)}
        # A directory of links comes with them.
        said |= {
            posixpath.dirname(path) for path in said if ".wants/" in path or ".requires/" in path
        }
    return tuple(words), frozenset(said)


def without_own_groups(accounts: tuple[AccountDrift, ...]) -> tuple[AccountDrift, ...]:
    """Without the groups that have the name of a new user: each user of a recipe has one."""
    users = {each.name for each in accounts if each.kind is AccountKind.USER and _is_new(each)}
    return tuple(
        each
        for each in accounts
        if not (each.kind is AccountKind.GROUP and each.name in users and _is_new(each))
    )


def _is_new(account: AccountDrift) -> bool:
    return account.change is EtcChange.ADDED


def find_account_rows(
    accounts: tuple[AccountDrift, ...], after: AccountRows, changed: set[str]
) -> tuple[tuple[AdoptedRow, ...], tuple[LeftOut, ...]]:
    """Rows of ``[[user]]`` and ``[[group]]``, and what these cannot say. A user without a group of
    its own (``adduser --system``) gets one, as all users of recipes have."""
    names = {row.gid: row.name for row in after.groups.values()}
    own = {
        user.name: GroupRow(name=user.name, gid=user.gid)
        for user in after.users.values()
        if names.get(user.gid) == _NO_GROUP and user.name not in after.groups
    }
    found = adopt_accounts(
        accounts,
        replace(after, groups={**after.groups, **own}),
        lambda _name: False,
        ids=False,
    )
    rows = (_with_usable_home(row, changed) for row in found.rows)
    kept, invalid = keep_valid(rows)
    return tuple(kept), (*found.left, *invalid)


def _with_usable_home(row: AdoptedRow, changed: set[str]) -> AdoptedRow:
    """Without a home of a system account that was not made, or that no recipe can have."""
    home = row.values.get("home")
    is_made = isinstance(home, str) and (home in changed or home.startswith("/var/"))
    if home is None or (is_made and check_home(str(home)) is None):
        return row
    values = {key: value for key, value in row.values.items() if key != "home"}
    return replace(row, values=values)


def _compare_packages(before: Path, after: Path) -> tuple[str, ...]:
    """The names of the packages that came, went or moved."""
    old, new = (
        {(each.name, each.version, each.architecture) for each in read_packages(database)}
        for database in (before, after)
    )
    return tuple(sorted({name for name, _, _ in old ^ new}))


def has_program(root: Path, name: str) -> bool:
    return any(
        exists_in_root(root, f"{folder}/{name}") for folder in ("usr/sbin", "usr/bin", "sbin")
    )
