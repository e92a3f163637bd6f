"""What several modules of these tests look at, built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.programs.test_build import System


@pytest.fixture
def bare_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes get nothing by themselves: in a made-up archive Atoll's packages find nothing that
    they need."""
    monkeypatch.setattr("atoll.lock.requirements.own_names", lambda *_: ())


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    from tests.programs.test_build import make_system

    return make_system(tmp_path_factory.mktemp("small"))
