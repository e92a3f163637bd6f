"""``atoll pull REF``: fetch an image into the store, verify it, and give it a name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "reference",
        metavar="REF",
        help="an image: docker://HOST/NAME[:TAG], oci:DIR[:TAG] or oci-archive:FILE",
    )
    parser.add_argument(
        "--as",
        dest="name",
        metavar="NAME",
        help="name in the store (default: the name of the image)",
    )
    parser.add_argument("--store", metavar="DIR", type=Path, help="store to use")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
