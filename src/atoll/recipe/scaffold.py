"""Write a new repository for a system (``atoll new``), ready to build, test and publish.

The files are templates beside this module, in which ``@NAME@`` and the like are replaced: a recipe
for each template in ``templates/<template>/atoll.toml``, and all files in ``templates/common``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from atoll.base.errors import Refused, UsageError
from atoll.host.fs import space_errors
from atoll.recipe.language.check_values import check_image_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TEMPLATES = ("desktop", "server", "minimal", "derive")
DERIVE = "derive"
_HASH = (
    "$6$changeme$pZpoCpY5BSAXtQ6yoAl9wYYKbEO2dmpH93ss2jfHg8KgVyGqUxHXhfIeheW8i4q8dM"
    ".IpNNgs4sXkhikowwhL/"
)
_DEB_ROW = (
    "| `atoll.deb` | Atoll's own package: it is in the system, and in the tools |\n"
    "| `atoll-system.deb` | what only systems carry that Atoll makes; never install it yourself |\n"
)
_COMMON = (
    # template, where it goes, mode
    ("README.md", "README.md", 0o644),
    ("gitignore", ".gitignore", 0o644),
    ("boot.sh", "tests/boot.sh", 0o755),
    ("ci.sh", "ci.sh", 0o755),
    ("tools.sh", "tools.sh", 0o755),
    ("github-workflow.yml", ".github/workflows/system.yml", 0o644),
    ("update.service", "systemd/@NAME@-update.service", 0o644),
    ("update.timer", "systemd/@NAME@-update.timer", 0o644),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """``path`` is relative to the repository."""

    path: str
    text: str
    mode: int


def plan_repository(
    template: str, directory: Path, *, name: str, base: str | None
) -> tuple[NewFile, ...]:
    """All files of the repository except Atoll's packages. ``base`` is for ``derive`` only.

    Raises UsageError.
    """
    flaw = check_image_name(name)
    if flaw:
        raise UsageError(
            f"{name!r} cannot be the name of an image: {flaw.message}",
            hint="choose another one with --name",
        )
    if (template == DERIVE) != (base is not None):
        raise UsageError(
            "the template derive needs --from, and no other one takes it",
            hint="such as: --from docker://HOST/NAME:TAG, oci:DIR:TAG or store:NAME",
        )
    values = {
        "NAME": name,
        "DIRECTORY": os.fspath(directory.absolute()),
        "HASH": _HASH,
        "BASE": base or "",
        "DEB_ROW": "" if template == DERIVE else _DEB_ROW,
    }
    sources = (
        (f"{template}/atoll.toml", "atoll.toml", 0o644),
        *((f"common/{source}", path, mode) for source, path, mode in _COMMON),
    )
    return tuple(
        NewFile(path=fill(path, values), text=fill(_template(source), values), mode=mode)
        for source, path, mode in sources
    )


def check_empty(directory: Path) -> None:
    """Raise Refused unless ``directory`` is empty or missing."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Refused(
            f"{directory} exists and is not an empty directory", hint="choose another one"
        )


def write_repository(
    directory: Path, planned: tuple[NewFile, ...], debs: Mapping[str, Path]
) -> None:
    """Write the files; ``debs`` are Atoll's packages by name, if the repository has them."""
    with space_errors(directory.absolute().parent):
        directory.mkdir(parents=True, exist_ok=True)
        for file in planned:
            path = directory / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
            path.chmod(file.mode)
        for name, deb in debs.items():
            (directory / f"{name}.deb").write_bytes(deb.read_bytes())


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace ``@KEY@`` by its value, for all keys."""
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text


def _template(name: str) -> str:
    return files("atoll.recipe").joinpath("templates", *name.split("/")).read_text()
