"""``atoll build``: a recipe becomes a tree in the store, and an image where one is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.debian.inventory import read_tree_owners
from atoll.recipe.build import build_tree
from atoll.recipe.parse import read_recipe
from atoll.registry.layout import NewImage, write_layout
from atoll.registry.manifest import ImageConfig
from atoll.registry.reference import LayoutReference, parse_reference
from atoll.store.layout import default_store_root, open_store

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
