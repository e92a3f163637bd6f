"""The protocol of a build step: it changes a root, and has an id made from its inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path


class Step(Protocol):
    """Steps run one after the other, each in an overlay on top of the results of those before it.

    Steps with the same ``parts`` make the same changes to the same root. So the changes are cached
    under a digest of the parts of the step and of all steps before it.
    """

    @property
    def title(self) -> str:
        """What is shown while it runs, such as ``Writing files``."""

    def parts(self) -> tuple[str, ...]:
        """Everything but the root that decides its changes."""

    def execute(self, root: Path, workspace: Path) -> None:
        """Change ``root``; ``workspace`` is a directory for temporary files outside of it."""
