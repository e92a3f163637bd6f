"""``atoll pull``: what it does; ``cli/pull.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli.arguments import format_option
from atoll.cli.output.progress import format_amount
from atoll.cli.references import require_image
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import StoreReference
from atoll.oci.source import opened_source
from atoll.store.layout import default_store_root, open_store
from atoll.store.refs import Ref, check_ref_name, write_ref

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.oci.pull_plan import PullPlan


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.name is not None:
        check_ref_name(arguments.name)
    root = (arguments.store or default_store_root()).absolute()
    reference = require_image(arguments.reference, root)
    if isinstance(reference, (str, StoreReference)):
        raise UsageError(
            f"{arguments.reference} names an image of a store, not one to pull",
            hint="pull docker://HOST/NAME:TAG, oci:DIR[:TAG] or oci-archive:FILE",
        )
    with opened_source(reference) as source:
        source.manifest()
        store = open_store(root, create=True)
        plan = plan_pull(source, store)
        name = check_ref_name(arguments.name or plan.image.record.config.name)
        reporter.notice(_summary(plan))
        apply_pull(plan, source, store, reporter)
    write_ref(store, name, _ref(plan))
    if arguments.json:
        print(json.dumps(_fields(plan, name)))
    else:
        print(plan.image.record.tree)
    reporter.notice(f"next: atoll inspect store:{name}{format_option('--store', arguments.store)}")
    return 0


def _summary(plan: PullPlan) -> str:
    config = plan.image.record.config
    what = f"{config.name} {config.version}".strip()
    if plan.is_here:
        return f"{what} is already in the store"
    return (
        f"{what}: fetching {format_amount(plan.fetch, 'B')}"
        f" from {len(plan.missing)} of {len(plan.layers)} layers"
    )


def _ref(plan: PullPlan) -> Ref:
    config = plan.image.record.config
    return Ref(
        tree=plan.image.record.tree,
        name=config.name,
        version=config.version,
        created=config.created,
    )


def _fields(plan: PullPlan, name: str) -> dict[str, object]:
    return {
        "ref": name,
        "tree": plan.image.record.tree,
        "manifest": plan.image.digest,
        "layers": len(plan.layers),
        "fetched_layers": len(plan.missing),
        "fetched_bytes": plan.fetch + plan.looked_up,
    }
