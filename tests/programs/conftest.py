"""What several modules of these tests look at, built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.programs.test_build import System


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    from tests.programs.test_build import make_system

    return make_system(tmp_path_factory.mktemp("small"))
