"""Find the lock of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.lock.serialize import read_lock

if TYPE_CHECKING:
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe


def lock_path(recipe: Recipe) -> Path:
    """The lock of FILE.toml is FILE.lock beside it; with a variant it is FILE-VARIANT.lock."""
    file = Path(recipe.file)
    return file.with_name(f"{file.stem}{f'-{recipe.variant}' if recipe.variant else ''}.lock")


def find_lock(recipe: Recipe) -> Lock | None:
    """The lock of a recipe; None if there is none. Raises RecipeError for an invalid one."""
    path = lock_path(recipe)
    return read_lock(path) if path.exists() else None
