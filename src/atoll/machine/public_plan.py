"""``atoll plan`` for users who may not read the machine itself.

The image describes itself, the running tree lists its packages, and ``public_status`` lists the
layers that are here. What only root can read (objects that layers share, ``/etc``) is not guessed:
sizes are upper limits, and conflicts in ``/etc`` are unknown.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, MissingPrivilege, NothingToDo
from atoll.base.ids import is_hex_digest
from atoll.host.fs import OWN_LIMIT, read_regular
from atoll.image.paths import ATOLL
from atoll.machine.candidate import (
    ESP_MARGIN,
    STATE_MARGIN,
    Candidate,
    absolute_reference,
    check_not_held,
    check_tracked,
)
from atoll.machine.deployment import Origin
from atoll.machine.deployments.retention import require_current
from atoll.machine.space import Space, check_space, measure_free
from atoll.machine.upgrade_check import UpgradePreview
from atoll.oci.reference import StoreReference, format_reference, parse_reference
from atoll.oci.source import inspect_source, opened_source
from atoll.oci.system_label import compare_packages, parse_packages

if TYPE_CHECKING:
    from atoll.machine.deployments.public_status import PublicState
    from atoll.machine.deployments.state import MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.upgrade import UpgradeRequest
    from atoll.oci.image import PublishedImage
    from atoll.oci.system_label import PackageChanges, SystemLabel

RECORDS = Path("/", ATOLL)
UPPER_LIMIT = "this is an upper limit; for exact figures: sudo atoll plan"


def preview_public_upgrade(
    sysroot: Sysroot, public: PublicState, request: UpgradeRequest, records: Path = RECORDS
) -> UpgradePreview:
    """What is known without root. Raises NothingToDo, MissingPrivilege, NetworkError, NotFound or
    Damaged."""
    image = check_tracked(sysroot, public.follows) if request.image is None else request.image
    candidate = _find_candidate(public, image)
    free = measure_free(sysroot)
    return UpgradePreview(
        candidate=candidate,
        packages=_compare(candidate.facts, records),
        needed=candidate.needed,
        free=free,
        etc=None,
        changed_here=None,
        made_here=None,
        obstacle=_find_obstacle(sysroot, public.state, candidate, free),
    )


def _find_obstacle(
    sysroot: Sysroot, state: MachineState, candidate: Candidate, free: Space
) -> AtollError | None:
    """Why the verb refuses, or may refuse: for space, only an upper limit is known."""
    try:
        require_current(state)
        check_not_held(candidate, state, even_held=False)
        check_space(
            candidate.title,
            candidate.needed,
            sysroot,
            free,
            UPPER_LIMIT,
        )
    except AtollError as error:
        return error
    return None


def _find_candidate(public: PublicState, image: str) -> Candidate:
    reference = None if is_hex_digest(image) else parse_reference(image)
    if reference is None or isinstance(reference, StoreReference):
        raise MissingPrivilege(
            "only root can see what is in the store of this machine", hint="try again with sudo"
        )
    reference = absolute_reference(reference)
    with opened_source(reference) as source:
        published = inspect_source(source)
    origin = Origin(image=format_reference(reference))
    config, tree = published.record.config, published.record.tree
    default = public.state.default
    if default and default.deployment.tree == tree and public.follows == origin.image:
        staged = f"sudo atoll plan shows what {default.deployment.title}, which is staged, brings"
        raise NothingToDo(
            f"{default.deployment.title} is already the newest version in {origin.image}",
            hint=staged if default.staged else None,
        )
    fetch = _fetch(published, public)
    return Candidate(
        origin=origin,
        tree=tree,
        name=config.name,
        version=config.version,
        is_here=any(each.deployment.tree == tree for each in public.state.deployments),
        fetch=fetch,
        needed=Space(
            state=(fetch + published.record.unpacked_size * 9 // 8 if fetch else 0) + STATE_MARGIN,
            esp=(config.system.esp if config.system else 0) + ESP_MARGIN,
        ),
        facts=config.system,
    )


def _fetch(published: PublishedImage, public: PublicState) -> int:
    """Bytes at most: those of all layers that are not here."""
    if any(each.deployment.tree == published.record.tree for each in public.state.deployments):
        return 0
    return sum(
        blob.size
        for blob, (diff_id, _) in zip(
            published.manifest.layers, published.record.layers, strict=True
        )
        if diff_id.removeprefix("sha256:") not in public.layers
    )


def _compare(facts: SystemLabel | None, records: Path) -> PackageChanges | None:
    """Against the running tree's own list, which everyone may read."""
    try:
        info, packages = (
            read_regular(records / name, limit=OWN_LIMIT)
            for name in ("image.json", "packages.json")
        )
    except OSError:
        return None
    if facts is None:
        return None
    return compare_packages(parse_packages(info, packages, where=str(records)), facts.packages)
