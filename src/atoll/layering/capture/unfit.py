"""Captured layers that can no longer be built, for an upgrade to hold or to leave out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.layering.capture.keep import read_record_in
from atoll.layering.capture.record import list_captured, remove_captured, script_name
from atoll.machine.deployments.layer_report import DroppedLayer

if TYPE_CHECKING:
    from atoll.base.errors import RecipeError
    from atoll.machine.etc.etc_tree import Node


def find_failed_layer(text: str, error: RecipeError) -> str | None:
    """The captured layer whose script ended a build; None for an error of something else."""
    said = error.message
    names = (name for name in list_captured(text) if f"the script {script_name(name)} " in said)
    return next(names, None)


def describe_failed(name: str, error: RecipeError) -> DroppedLayer:
    reason = error.message.splitlines()[0]
    return DroppedLayer(package=f"captured layer {name}", reason=reason)


def drop_failed_layer(etc: Node, text: str, name: str) -> str:
    """The machine file without a captured layer. Raises Damaged for its record."""
    return remove_captured(text, name, read_record_in(etc, name))
