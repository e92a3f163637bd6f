"""The image of an upgrade, before and after the download."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged, NotFound, NothingToDo, Refused
from atoll.base.ids import TreeId, is_hex_digest
from atoll.image.paths import IMAGE_INFO
from atoll.machine.deployment import Origin
from atoll.machine.deployments.retention import choose_kept, required_deployments
from atoll.machine.deployments.state import read_origin
from atoll.machine.etc.etc_commands import read_etc_of_tree
from atoll.machine.etc.read import etc_of_tree
from atoll.machine.space import Space
from atoll.oci.partial_read import preview_directory, preview_objects
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import (
    ArchiveReference,
    LayoutReference,
    StoreReference,
    format_reference,
    parse_reference,
)
from atoll.oci.source import opened_source
from atoll.oci.system_label import SystemLabel, compare_packages, read_system_label
from atoll.store.layout import open_store
from atoll.store.objects import read_object
from atoll.store.refs import read_ref
from atoll.store.tree_images import read_below
from atoll.tree.erofs_reader import parse_below
from atoll.tree.model import Regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from atoll.base.ids import ObjectId
    from atoll.base.report import Reporter
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.oci.pull_plan import PullPlan
    from atoll.oci.reference import Reference
    from atoll.oci.source import ImageSource
    from atoll.oci.system_label import PackageChanges
    from atoll.store.layout import Store

STATE_MARGIN = 16 << 20
"""Bytes on the state partition for a deployment's own files besides ``/etc``, and a margin."""
ESP_MARGIN = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The image of an upgrade.

    ``fetch`` is in bytes. ``facts`` are None if the image has no system label. ``pull`` is None for
    an image that was named as one in the machine's store (by digest or ``store:NAME``).
    """

    origin: Origin
    tree: TreeId
    name: str
    version: str
    is_here: bool
    fetch: int
    needed: Space
    facts: SystemLabel | None
    pull: PullPlan | None = None
    source: ImageSource | None = None

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}".strip() or f"tree {self.tree[:16]}…"


@contextmanager
def opened_candidate(
    sysroot: Sysroot, state: MachineState, image: str | None
) -> Iterator[Candidate]:
    """Look up ``image``, or without one the image that the machine follows.

    Only manifest and config are fetched. Raises Refused when the machine follows no image,
    NotFound, NetworkError, Damaged or UsageError.
    """
    text = image if image is not None else tracked_image(sysroot, state)
    store = open_store(sysroot.atoll)
    if is_hex_digest(text):
        yield stored_candidate(store, TreeId(text), "", "", Origin(image=text))
        return
    reference = parse_reference(text)
    if isinstance(reference, StoreReference):
        ref = read_ref(store, reference.name)
        yield stored_candidate(store, ref.tree, ref.name, ref.version, Origin(image=text))
        return
    reference = absolute_reference(reference)
    with opened_source(reference) as source:
        pull = plan_pull(source, store)
        config = pull.image.record.config
        esp = config.system.esp if config.system else 0
        yield Candidate(
            origin=Origin(image=format_reference(reference)),
            tree=pull.image.record.tree,
            name=config.name,
            version=config.version,
            is_here=pull.is_here,
            fetch=pull.fetch,
            needed=Space(state=pull.space + STATE_MARGIN, esp=esp + ESP_MARGIN, inodes=pull.inodes),
            facts=config.system,
            pull=pull,
            source=source,
        )


def tracked_image(sysroot: Sysroot, state: MachineState) -> str:
    """The image that the deployment which boots next came from."""
    followed = state.default or state.current
    image = "" if followed is None else read_origin(sysroot, followed.number).image
    return check_tracked(sysroot, image)


def check_tracked(sysroot: Sysroot, text: str) -> str:
    """``text``, if it names an image that can have newer versions. Raises Refused otherwise."""
    if not text or is_hex_digest(text) or text.startswith("store:"):
        raise Refused(
            "this machine follows no image: it was installed from a local tree",
            hint=f"to follow one: {sysroot.command('rebase docker://HOST/NAME:TAG')}",
        )
    return text


def fetch_candidate(candidate: Candidate, store: Store, reporter: Reporter) -> Candidate:
    """Fetch the whole tree into the store, durably.

    The result no longer has the table of contents, which takes the most memory.
    """
    if candidate.pull is None or candidate.source is None:
        return candidate
    apply_pull(candidate.pull, candidate.source, store, reporter)
    return replace(candidate, pull=replace(candidate.pull, parts=None), source=None)


def read_candidate_etc(candidate: Candidate, store: Store) -> Node | None:
    """The image's ``/etc``, read from the registry if the image is not downloaded; None if the
    image has no table of contents."""
    if candidate.is_here:
        return read_etc_of_tree(store, candidate.tree)
    if candidate.pull is None or candidate.source is None:
        return None
    found = preview_directory(candidate.pull, candidate.source, store, "etc")
    return None if found is None else etc_of_tree(*found)


def read_candidate_image_json(candidate: Candidate, store: Store) -> bytes | None:
    """The image's ``image.json``, read from the registry if the image is not downloaded; None if
    the image has no table of contents."""
    if candidate.is_here:
        node = read_below(store, candidate.tree, IMAGE_INFO)
        read: Callable[[ObjectId], bytes] | None = partial(read_object, store)
    elif candidate.pull is None or candidate.pull.parts is None or candidate.source is None:
        return None
    else:
        node = parse_below(candidate.pull.parts.contents.image, IMAGE_INFO.encode())
        wanted = [node.object] if isinstance(node, Regular) and node.object else []
        read = preview_objects(candidate.pull, candidate.source, store, wanted)
    if not isinstance(node, Regular) or read is None:
        return None
    return read(node.object) if node.object else node.inline


def check_new(
    candidate: Candidate, sysroot: Sysroot, state: MachineState, *, even_held: bool
) -> None:
    """Raises NothingToDo for an image that already boots next, Refused for one that is held.

    The same tree from another reference counts as new: the machine then follows that image.
    """
    default = state.default
    if default is not None and is_current(candidate, sysroot, default):
        raise NothingToDo(
            f"{default.deployment.title} is already the newest version in {candidate.origin.image}"
        )
    check_not_held(candidate, state, even_held=even_held)


def is_current(candidate: Candidate, sysroot: Sysroot, deployment: DeploymentState) -> bool:
    """Whether the deployment is of this image, or of a tree that the machine file made of it."""
    origin = _origin_of(sysroot, deployment.number)
    if origin is None or origin.image != candidate.origin.image:
        return False
    return (origin.base or deployment.deployment.tree) == candidate.tree


def check_not_held(candidate: Candidate, state: MachineState, *, even_held: bool) -> None:
    """Raises Refused for a tree that failed to boot here, or that was rolled back from."""
    check_tree_not_held(candidate.tree, candidate.title, state, even_held=even_held)


def check_tree_not_held(tree: TreeId, title: str, state: MachineState, *, even_held: bool) -> None:
    """As ``check_not_held``, for a tree that is not an image's own."""
    hold = state.held.get(tree)
    if hold is not None and not even_held:
        raise Refused(
            f"{title} is held on this machine: {hold.why}",
            hint="wait for a newer version, or install it anyway with --even-held",
        )


def _origin_of(sysroot: Sysroot, number: int) -> Origin | None:
    """None when it cannot be read: an upgrade or rebase writes a new one."""
    try:
        return read_origin(sysroot, number)
    except (Damaged, OSError):
        return None


def compare_with_tree(candidate: Candidate, store: Store, tree: TreeId) -> PackageChanges | None:
    """The changes in packages since ``tree``; None if either side does not list its packages."""
    try:
        mine = read_system_label(store, tree)
    except (Damaged, NotFound):
        return None  # a damaged running tree must not block an upgrade
    if mine is None or candidate.facts is None:
        return None
    return compare_packages(mine.packages, candidate.facts.packages)


def make_origin(text: str) -> Origin:
    """The origin for a reference; paths become absolute, for later upgrades run elsewhere."""
    if is_hex_digest(text):
        return Origin(image=text)
    return Origin(image=format_reference(absolute_reference(parse_reference(text))))


def absolute_reference(reference: Reference) -> Reference:
    if isinstance(reference, LayoutReference):
        return replace(reference, directory=str(Path(reference.directory).absolute()))
    if isinstance(reference, ArchiveReference):
        return replace(reference, file=str(Path(reference.file).absolute()))
    return reference


def needed_on_esp(candidate: Candidate, state: MachineState) -> int:
    """Bytes needed on the ESP: only a margin if a deployment has this tree already, because its
    kernel and initrd are there."""
    there = any(each.deployment.tree == candidate.tree for each in state.deployments)
    return ESP_MARGIN if there else candidate.needed.esp


def suggest_space(sysroot: Sysroot, state: MachineState, keep: int) -> str:
    """How a person can free space; ``keep`` is how many deployments policy keeps."""
    collect = sysroot.command("gc --keep 1")
    spare = choose_kept(state, keep) - required_deployments(state)
    titles = [each.deployment.title for each in state.deployments if each.number in spare]
    if titles:
        return f"free space with: {collect} (removes {', '.join(titles)})"
    pinned = [
        str(each.number)
        for each in state.deployments
        if each.pinned and not (each.booted or each.default or each.fallback)
    ]
    if pinned:
        return f"free space with: {sysroot.command(f'unpin {pinned[0]}')}, then {collect}"
    return "remove files from /home or /var, then try again"


def stored_candidate(
    store: Store, tree: TreeId, name: str, version: str, origin: Origin
) -> Candidate:
    """An image whose tree is in the machine's store."""
    facts = read_system_label(store, tree)
    esp = facts.esp if facts else 0
    return Candidate(
        origin=origin,
        tree=tree,
        name=name,
        version=version,
        is_here=True,
        fetch=0,
        needed=Space(state=STATE_MARGIN, esp=esp + ESP_MARGIN, inodes=0),
        facts=facts,
    )
