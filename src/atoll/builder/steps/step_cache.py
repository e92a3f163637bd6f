"""Run steps in overlays on top of each other, and cache the upper directory of each.

::

    start ─→ step ─→ step ─→ …    the id of a step covers the start and all steps up to it
    root     upper   upper        what the cache keeps: the lower layers of the next step
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.cache import make_id, step_mounted
from atoll.host.fs import temporary_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.builder.cache import Cache
    from atoll.builder.steps.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The result of the steps so far: ``layers`` are directories for an overlay, the topmost first;
    ``id`` covers everything that decided them.
    """

    cache: Cache
    id: str
    layers: tuple[Path, ...]


def chain_id(start: str, steps: Iterable[Step]) -> str:
    """The id of the result of ``steps`` on a root whose id is ``start``; nothing is executed."""
    for step in steps:
        start = make_id("step 1", start, *step.parts())
    return start


def run_steps(chain: Chain, steps: Iterable[Step], reporter: Reporter) -> Chain:
    """Execute the steps that are not in the cache. Raises what the steps raise."""
    for step in steps:
        chain = _run_step(chain, step, reporter)
    return chain


@contextmanager
def chain_mounted(chain: Chain) -> Iterator[Path]:
    """Mount all layers as one root, for a last use: changes there are lost afterwards."""
    with step_mounted(chain.cache, chain.layers) as (root, _):
        yield root


def _run_step(chain: Chain, step: Step, reporter: Reporter) -> Chain:
    cache, name = chain.cache, chain_id(chain.id, [step])
    kept = cache.find("steps", name)
    if kept is None:
        with (
            reporter.step(step.title),
            step_mounted(cache, chain.layers) as (root, upper),
            temporary_directory(cache.root, prefix=".new-") as workspace,
        ):
            step.execute(root, workspace)
            kept = cache.keep(upper, "steps", name)
    # an empty layer would only slow down every look-up in the overlay
    layers = (kept, *chain.layers) if any(kept.iterdir()) else chain.layers
    return Chain(cache=cache, id=name, layers=layers)
