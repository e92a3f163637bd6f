"""Where the lock of a recipe is, and the lock that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atoll.lock.serialize import read_lock

if TYPE_CHECKING:
    from atoll.lock.model import Lock
    from atoll.recipe.model import Recipe


def lock_path(recipe: Recipe) -> Path:
    """FILE.toml has FILE.lock beside it, with a variant FILE-VARIANT.lock."""
    file = Path(recipe.file)
    return file.with_name(f"{file.stem}{f'-{recipe.variant}' if recipe.variant else ''}.lock")


def find_lock(recipe: Recipe) -> Lock | None:
    """The lock beside a recipe, None when there is none; raises RecipeError for a damaged one."""
    path = lock_path(recipe)
    return read_lock(path) if path.exists() else None
