"""``upgrade`` and ``rebase`` of a machine with a machine file: image and layers move together.

Without a machine file that changes the tree this is ``machine.upgrade``. With one, the new image is
fetched, the packages of the file are resolved on it at their newest versions, and what is built of
both is staged: one transaction, one reboot.

- A package that the new image contains leaves the machine file, and so does the removal of one that
  it no longer contains.
- A package that no longer fits, or cannot be had: with ``[update] layers = "hold"`` nothing
  changes, with ``"drop"`` it leaves the machine file. Either is recorded (``layer_report``), and
  ``status`` shows it until an upgrade succeeds without.
- The same holds for a captured layer whose script fails on the new image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.base.errors import ArchiveError, NothingToDo, PackageError, RecipeError, Refused
from atoll.debian.resolve import parse_requirement
from atoll.layering.capture.unfit import (
    describe_failed,
    drop_failed_layer,
    find_failed_layer,
)
from atoll.layering.change_machine import (
    MachineBase,
    check_file_unchanged,
    decode_machine_file,
    find_situation,
    forget_built,
    read_live,
)
from atoll.layering.change_packages import installed_names, read_own_words
from atoll.layering.edit_machine_file import add_packages, remove_packages
from atoll.layering.machine_tree import (
    BaseTree,
    build_machine_tree,
    machine_folder,
    resolve_machine_tree,
)
from atoll.machine.candidate import check_tree_not_held, stored_candidate
from atoll.machine.cleanup import clean_up
from atoll.machine.deployment import MachineFiles, Origin
from atoll.machine.deployments.confirmation import require_confirmed
from atoll.machine.deployments.layer_report import (
    DroppedLayer,
    LayerReport,
    clear_layer_report,
    write_layer_report,
)
from atoll.machine.deployments.machine_lock import locked_machine
from atoll.machine.deployments.retention import require_current
from atoll.machine.machine_file import FILE, read_machine_text
from atoll.machine.stage_image import stage_image
from atoll.machine.staging import StageRequest
from atoll.machine.upgrade import (
    UpgradeResult,
    download_candidate,
    upgrade_locked,
)
from atoll.recipe.language.check_packages import is_local_package, package_name
from atoll.recipe.language.parse import parse_machine_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.base.report import Reporter
    from atoll.layering.change_machine import Situation
    from atoll.layering.machine_tree import MachineTree
    from atoll.machine.candidate import Candidate
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.upgrade import UpgradeRequest


def upgrade_machine(sysroot: Sysroot, request: UpgradeRequest, reporter: Reporter) -> UpgradeResult:
    """Make the requested image, with what the machine file adds, boot next.

    Raises NothingToDo, Refused, PackageError, NotFound, NetworkError, NoSpace, Damaged, Busy or
    RecipeError; the machine is then as it was.
    """
    with locked_machine(sysroot) as machine:
        state = clean_up(machine, reporter)
        if not has_layers(machine, state):
            return upgrade_locked(machine, state, request, reporter)
        require_confirmed(machine)
        here = find_situation(machine, state)
        try:
            return _upgrade_layers(here, request, reporter)
        finally:
            forget_built(here.store)


def has_layers(machine: Sysroot, state: MachineState) -> bool:
    """Whether the machine file changes the tree. Raises RecipeError, Busy or Damaged."""
    text = decode_machine_file(read_machine_text(read_live(machine, require_current(state))))
    return bool(text) and parse_machine_recipe(text, file=FILE).makes_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class _Next:
    """The text of the machine file on the next image, what was left out of it, and what was built;
    ``made`` is None where nothing of the file is left."""

    text: str
    dropped: tuple[DroppedLayer, ...]
    made: MachineTree | None


def _upgrade_layers(here: Situation, request: UpgradeRequest, reporter: Reporter) -> UpgradeResult:
    candidate, newer = _find_candidate(here, request, reporter)
    if request.download_only:
        return UpgradeResult(candidate=candidate)
    base = BaseTree(tree=candidate.tree, image=candidate.origin.image)
    found = _make_next(here, base, candidate.title, reporter)
    tree = base.tree if found.made is None else found.made.tree
    if not newer and tree == here.newest.deployment.tree:
        raise NothingToDo(
            f"{candidate.title} is already the newest version in {base.image}, and so are the"
            " packages of the machine file"
        )
    check_tree_not_held(tree, candidate.title, here.state, even_held=request.even_held)
    own = None if found.made is None else found.made.files
    check_file_unchanged(here)
    staged = stage_image(
        here.machine,
        here.state,
        StageRequest(
            verb=request.verb,
            tree=tree,
            origin=Origin(image=base.image, base=None if own is None else base.tree),
            machine=own or MachineFiles(text=found.text.encode(), lock=b""),
            confirm=request.confirm,
        ),
        reporter,
    )
    _report(here, LayerReport(image=candidate.title, held=False, layers=found.dropped))
    return UpgradeResult(
        candidate=candidate,
        deployment=staged.deployment,
        merge=staged.merge,
        pruned=staged.pruned,
        warning=staged.warning,
    )


def _find_candidate(
    here: Situation, request: UpgradeRequest, reporter: Reporter
) -> tuple[Candidate, bool]:
    """The image that is wanted, downloaded, and whether the machine has another one. Where it has
    the newest, only packages of the machine file may have moved."""
    try:
        return download_candidate(here.machine, here.state, request, reporter), True
    except NothingToDo:
        if request.download_only:
            raise
        deployment = here.newest.deployment
        origin = Origin(image=here.base.image)
        name, version = deployment.name, deployment.version
        return stored_candidate(here.store, here.base.tree, name, version, origin), False


def _make_next(here: Situation, base: BaseTree, title: str, reporter: Reporter) -> _Next:
    """Raises Refused when a package no longer fits and the machine file says to hold."""
    text = _fit_to_image(here, base, title, reporter)
    try:
        return _build_fitting(here, _Next(text=text, dropped=(), made=None), base, title, reporter)
    except ArchiveError:
        # Nothing is known of the packages, so none is left out.
        raise
    except PackageError as error:
        parsed = parse_machine_recipe(text, file=FILE)
        if parsed.recipe.update.layers == "hold":
            layers = _find_unfit(here, text, base, error.message, reporter)
            _report(here, LayerReport(image=title, held=True, layers=layers))
            raise Refused(
                f"the machine file does not fit {title}, so nothing changed: {error.message}",
                hint="change it (atoll edit, atoll remove NAME), or leave out what does not fit:"
                ' [update] layers = "drop"',
            ) from error
    text, dropped = _drop_unfit(here, text, base, reporter)
    for each in dropped:
        reporter.notice(f"left out: {each.package}: {each.reason}")
    found = _Next(text=text, dropped=dropped, made=None)
    return _build_fitting(here, found, base, title, reporter)


def _build_fitting(
    here: Situation, found: _Next, base: BaseTree, title: str, reporter: Reporter
) -> _Next:
    """Build, without captured layers that fail where the machine file says to drop those. Raises
    Refused where it says to hold."""
    text, dropped = found.text, found.dropped
    while True:
        try:
            return _Next(text=text, dropped=dropped, made=_build(here, text, base, reporter))
        except RecipeError as error:
            name = find_failed_layer(text, error)
            if name is None:
                raise
            layer = describe_failed(name, error)
            if parse_machine_recipe(text, file=FILE).recipe.update.layers == "hold":
                _report(here, LayerReport(image=title, held=True, layers=(layer,)))
                raise Refused(
                    f"the machine file does not fit {title}, so nothing changed: {error.message}",
                    hint=f"take it out (atoll capture --remove {name}), or leave out what does not"
                    ' fit: [update] layers = "drop"',
                ) from error
        reporter.notice(f"left out: {layer.package}: {layer.reason}")
        text, dropped = drop_failed_layer(here.live, text, name), (*dropped, layer)


def _fit_to_image(here: Situation, base: BaseTree, title: str, reporter: Reporter) -> str:
    """The machine file without packages that the image has now, and without removals of those that
    it no longer has. A package of a certain version or suite stays: the image may have another."""
    installed = installed_names(MachineBase(base=base, store=here.store))
    contained = []
    for word in read_own_words(here.text):
        wanted = parse_requirement(word)
        plain = not (is_local_package(word) or wanted.version or wanted.suite)
        if plain and wanted.name in installed:
            contained.append(package_name(word))
            reporter.notice(f"{title} contains {word}: it leaves the machine file")
    removed = parse_machine_recipe(here.text, file=FILE).recipe.packages.remove
    absent = [name for name in removed if name not in installed]
    for name in absent:
        reporter.notice(f"{title} no longer contains {name}: its removal leaves the machine file")
    text = remove_packages(here.text, contained) if contained else here.text
    return add_packages(text, (), back=absent) if absent else text


def _build(here: Situation, text: str, base: BaseTree, reporter: Reporter) -> MachineTree | None:
    with machine_folder(here.live, text, here.machine.state) as folder:
        if not folder.read(base).makes_tree:
            return None
        return build_machine_tree(folder, base, here.store, reporter, moves=True)


def _drop_unfit(
    here: Situation, text: str, base: BaseTree, reporter: Reporter
) -> tuple[str, tuple[DroppedLayer, ...]]:
    """The machine file without packages that cannot be installed on ``base``: those that do not fit
    alone, then from the last on, until the rest fits. Raises PackageError when even nothing of it
    does."""
    words = read_own_words(text)
    dropped: list[DroppedLayer] = []

    def why_not(kept: Sequence[str]) -> str:
        gone = [package_name(word) for word in words if word not in kept]
        with machine_folder(here.live, remove_packages(text, gone), here.machine.state) as folder:
            try:
                resolve_machine_tree(folder, base, here.store, reporter, moves=True)
            except ArchiveError:
                raise
            except PackageError as error:
                return error.message
        return ""

    kept = []
    for word in words:
        reason = why_not([word])
        if reason:
            dropped.append(DroppedLayer(package=word, reason=reason))
        else:
            kept.append(word)
    while kept and (reason := why_not(kept)):
        dropped.append(DroppedLayer(package=kept.pop(), reason=reason))
    gone = [package_name(each.package) for each in dropped]
    return remove_packages(text, gone), tuple(dropped)


def _find_unfit(
    here: Situation, text: str, base: BaseTree, reason: str, reporter: Reporter
) -> tuple[DroppedLayer, ...]:
    """The packages that would have to be left out, for the report; with ``reason`` alone where the
    rest does not fit, either."""
    try:
        return _drop_unfit(here, text, base, reporter)[1]
    except PackageError:
        return (DroppedLayer(package="", reason=reason),)


def _report(here: Situation, report: LayerReport) -> None:
    if report.layers:
        write_layer_report(here.machine.state, report)
    else:
        clear_layer_report(here.machine.state)
