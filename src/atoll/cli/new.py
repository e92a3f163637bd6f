"""``atoll new DIR``: create a repository for a system, ready to build, test and publish."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound
from atoll.base.text import one_line
from atoll.debian.atoll_package import (
    MAKE,
    SYSTEM,
    TOOL,
    check_package,
    find_own_packages,
    find_system_beside,
)
from atoll.host.fs import temporary_directory
from atoll.recipe.scaffold import DERIVE, TEMPLATES, check_empty, plan_repository, write_repository
from atoll.vm.qemu import temporary_place

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="new or empty directory")
    parser.add_argument(
        "--template",
        choices=TEMPLATES,
        default="minimal",
        help="template to use (default: minimal)",
    )
    parser.add_argument("--name", help="name of the image (default: the name of DIR)")
    parser.add_argument("--from", dest="base", metavar="REF", help="image to derive from")
    parser.add_argument(
        "--deb",
        metavar="FILE",
        type=Path,
        help="package of Atoll, with atoll-system next to it (default: this version's)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    directory: Path = arguments.directory
    name = arguments.name or directory.absolute().name
    planned = plan_repository(arguments.template, directory, name=name, base=arguments.base)
    check_empty(directory)
    with temporary_directory(temporary_place(), prefix="atoll-new-") as workspace:
        debs = _packages(arguments, workspace, reporter)
        write_repository(directory, planned, debs)
    names = [*(file.path for file in planned), *(f"{name}.deb" for name in debs)]
    if arguments.json:
        print(json.dumps({"directory": str(directory), "name": name, "files": names}, indent=2))
    else:
        print("\n".join(one_line(str(directory / path)) for path in names))
    reporter.notice(f"next: cd {quote(str(directory))}; atoll check; README.md lists all commands")
    return 0


def _packages(
    arguments: argparse.Namespace, workspace: Path, reporter: Reporter
) -> Mapping[str, Path]:
    """Copies of Atoll's own packages, by name, to put into the repository. A derived image has them
    from its base. Raises NotFound."""
    deb: Path | None = arguments.deb
    if deb is not None:
        check_package(deb)
        system = find_system_beside(deb)
        if system is None:
            raise NotFound(f"there is no package {SYSTEM} next to {deb}", hint=MAKE)
        return {TOOL: deb, SYSTEM: system}
    if arguments.template == DERIVE:
        return {}
    with reporter.step("Looking for Atoll's own packages"):
        return find_own_packages(workspace)
