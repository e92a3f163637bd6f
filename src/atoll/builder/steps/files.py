"""``[[file]]``: write files (from text, local files or downloads) and symbolic links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.builder.steps.in_root import FileToWrite, LinkToWrite, write_files
from atoll.builder.steps.local_files import digest_named, ensure_download, require_input

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.recipe.model import File, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFiles:
    """All files of a recipe, in its order. ``downloads`` is the cache of downloaded files."""

    recipe: Recipe
    downloads: Path
    offline: bool = False
    title: str = "Writing files"

    def parts(self) -> tuple[str, ...]:
        return ("files 1", *(self._part(file) for file in self.recipe.files))

    def execute(self, root: Path, workspace: Path) -> None:
        wanted = [self._to_write(file) for file in self.recipe.files]
        write_files(root, wanted, workspace=workspace, key="file")

    def _part(self, file: File) -> str:
        """The content counts, not the place that it came from."""
        digest = file.sha256 or ""
        if file.source is not None:
            digest = digest_named(self.recipe, file.source, "file.source")
        return repr((file.path, file.text, digest, file.link, file.mode, file.owner, file.group))

    def _to_write(self, file: File) -> FileToWrite | LinkToWrite:
        if file.link is not None:
            return LinkToWrite(path=file.path, target=file.link)
        content: bytes | Path
        if file.text is not None:
            content = file.text.encode()
        elif file.url is not None:
            content = ensure_download(
                file.url, file.sha256 or "", self.downloads, offline=self.offline
            )
        else:
            content = require_input(self.recipe, file.source or "", "file.source")
        return FileToWrite(
            path=file.path, content=content, mode=file.mode, owner=file.owner, group=file.group
        )
