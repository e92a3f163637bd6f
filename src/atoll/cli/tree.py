"""``atoll tree``: print the digest, the dump or the files of a tree, or write its composefs
image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import NotFound, UsageError
from atoll.base.text import one_line
from atoll.cli.output.terminal import write_result
from atoll.host.fs import replace_file
from atoll.oci.layout import is_layout, measure_layout
from atoll.oci.reference import LayoutReference, parse_reference
from atoll.store.objects import DigestSink
from atoll.store.scan import scan_directory
from atoll.tree.dumpfile import format_dump, parse_dump
from atoll.tree.erofs_format import HEADER_MAGIC
from atoll.tree.erofs_reader import parse_image
from atoll.tree.erofs_writer import format_image, tree_digest
from atoll.tree.model import Device, Directory, Fifo, Regular, Symlink, walk

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.tree.model import Node

_PATH_HELP = "a directory, an OCI layout (also oci:DIR:TAG), a composefs dump or a composefs image"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, text in (
        ("digest", "print the digest of a tree"),
        ("dump", "print a tree as a composefs dump"),
        ("image", "write a tree as a composefs image"),
        ("ls", "list what is in a tree"),
    ):
        one = verbs.add_parser(name, help=text, description=text)
        one.add_argument("path", metavar="PATH", help=_PATH_HELP)
        if name == "image":
            one.add_argument("out", metavar="OUT", help="file to write")
        if name in ("digest", "image"):
            one.add_argument(
                "--format",
                type=int,
                choices=(0, 1),
                default=1,
                help="composefs format version (default: 1)",
            )


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    tree = _read_tree(arguments.path, reporter)
    match arguments.what:
        case "digest":
            print(tree_digest(tree, version=arguments.format))
        case "dump":
            write_result(format_dump(tree))
        case "image":
            # Private: the image contains small files, also those that only root may read.
            image = format_image(tree, version=arguments.format)
            replace_file(Path(arguments.out), image, mode=0o600)
        case "ls":
            _list(tree)
    return 0


def _read_tree(text: str, reporter: Reporter) -> Directory:
    path = Path(text)
    if path.is_dir():
        if is_layout(path):
            return measure_layout(LayoutReference(directory=text))

        return scan_directory(path, DigestSink(), reporter)
    if path.exists():
        return _read_file(path)
    if text.startswith("oci:"):
        reference = parse_reference(text)
        assert isinstance(reference, LayoutReference)
        return measure_layout(reference)
    raise NotFound(f"there is no {text}", hint=f"give {_PATH_HELP}")


def _read_file(path: Path) -> Directory:
    if not path.is_file():
        raise UsageError(f"{path} is neither a directory nor a regular file")
    with path.open("rb") as file:
        is_image = file.read(4) == HEADER_MAGIC.to_bytes(4, "little")
        file.seek(0)
        return parse_image(file.read()) if is_image else parse_dump(file)


def _list(tree: Directory) -> None:
    for path, node in walk(tree):
        print(_line(path, node))


def _line(path: bytes, node: Node) -> str:
    size = ""
    match node:
        case Directory():
            letter = "d"
        case Regular():
            letter, size = "-", str(node.size)
        case Symlink():
            letter, path = "l", path + b" -> " + node.target
        case Device():
            letter = node.kind.value
            size = f"{os.major(node.number)},{os.minor(node.number)}"
        case Fifo():
            letter = "p"
        case _:
            letter = "s"
    data = node.metadata
    name = one_line(path.decode(errors="backslashreplace"))
    return f"{letter}{data.mode:04o} {data.uid}:{data.gid} {size:>10} {name}"
