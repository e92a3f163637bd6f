"""``atoll new DIR``: a repository for a system, ready to build, test and publish."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.text import one_line
from atoll.debian.own_package import check_package, find_own_package
from atoll.host.files import temporary_directory
from atoll.host.qemu import temporary_place
from atoll.recipe.repository import (
    DERIVE,
    TEMPLATES,
    check_empty,
    plan_repository,
    write_repository,
)

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", type=Path, help="a new or empty directory")
    parser.add_argument("--template", choices=TEMPLATES, default="minimal",
                        help="what to begin with (minimal)")  # fmt: skip
    parser.add_argument("--name", help="of the image (default: DIR's own)")
    parser.add_argument("--from", dest="base", metavar="REF", help="the image to derive from")
    parser.add_argument("--deb", metavar="FILE", type=Path,
                        help="Atoll's package (default: that of this Atoll)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    directory: Path = arguments.directory
    name = arguments.name or directory.absolute().name
    planned = plan_repository(arguments.template, directory, name=name, base=arguments.base)
    check_empty(directory)
    with temporary_directory(temporary_place(), prefix="atoll-new-") as workspace:
        deb = _package(arguments, workspace, reporter)
        write_repository(directory, planned, deb)
    names = [file.path for file in planned] + (["atoll.deb"] if deb else [])
    if arguments.json:
        print(json.dumps({"directory": str(directory), "name": name, "files": names}, indent=2))
    else:
        print("\n".join(one_line(str(directory / path)) for path in names))
    reporter.notice(f"next: cd {directory}; atoll check; README.md has all the commands")
    return 0


def _package(arguments: argparse.Namespace, workspace: Path, reporter: Reporter) -> Path | None:
    """Atoll's package for the system; a base that Atoll made has it already."""
    if arguments.deb is not None:
        check_package(arguments.deb)
        return Path(arguments.deb)
    if arguments.template == DERIVE:
        return None
    with reporter.step("Looking for Atoll's own package"):
        return find_own_package(workspace)
