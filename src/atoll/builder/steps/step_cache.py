"""Steps, each over what those before it gave, each done once until something decides otherwise.

::

    start ─→ step ─→ step ─→ …            an id covers the start and all steps up to here
      root    upper    upper              what is kept, and what the next step sees from above
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
    """What was made so far: ``layers`` are directories over one another, the topmost first.

    ``id`` covers everything that decided them.
    """

    cache: Cache
    id: str
    layers: tuple[Path, ...]


def chain_id(start: str, steps: Iterable[Step]) -> str:
    """The id of what ``steps`` make of something whose id is ``start``, without making it."""
    for step in steps:
        start = make_id("step 1", start, *step.parts())
    return start


def run_steps(chain: Chain, steps: Iterable[Step], reporter: Reporter) -> Chain:
    """Do what was not done before."""
    for step in steps:
        chain = _run_step(chain, step, reporter)
    return chain


@contextmanager
def chain_mounted(chain: Chain) -> Iterator[Path]:
    """All of it as one root, for a last use: what changes there is gone afterwards."""
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
    # a layer with nothing in it would only make every look-up in the stack slower
    layers = (kept, *chain.layers) if any(kept.iterdir()) else chain.layers
    return Chain(cache=cache, id=name, layers=layers)
