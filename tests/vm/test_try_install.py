"""``./try --install``, all of it, with the store of the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.install_tour import Place, install_from_stick, make_stick, new_tour
from examples.tour_steps import run_tour
from tests.cache import alone

from .conftest import STORE

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


def test_a_stick_installs_itself_encrypted(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tour = new_tour()
    place = Place(store=STORE, work=tmp_path)

    def show() -> None:
        with alone("store"):
            tree = make_stick(tour, place)
        install_from_stick(tour, place, tree)

    status = run_tour(tour, show)
    shown = capfd.readouterr()
    assert status == 0, f"{shown.out}\n{shown.err}"
    assert len(tour.done) == tour.steps
    assert "Recovery key, shown this once" in shown.out
    assert "The recovery key opens the disk as well." in shown.out
    # Its own words fit a terminal; commands and what the machine prints are shown as they are.
    own = [line for line in shown.out.splitlines() if not line.startswith(("  $", "    "))]
    assert [line for line in own if len(line) > 80 and not line.startswith("  waits for")] == []
