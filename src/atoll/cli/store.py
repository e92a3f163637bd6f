"""``atoll store``: list the images in a store, check its data, and remove names."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import Damaged
from atoll.base.text import one_line
from atoll.store.check import check_store
from atoll.store.layout import default_store_root, open_store
from atoll.store.refs import list_refs, remove_ref

if TYPE_CHECKING:
    import argparse

    from atoll.base.report import Reporter
    from atoll.store.layout import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, text in (
        ("list", "list the images in the store"),
        ("check", "read all data and report damage"),
        ("remove", "remove the name of an image"),
    ):
        one = verbs.add_parser(name, help=text, description=text)
        if name == "remove":
            one.add_argument("name", metavar="NAME", help="name, as shown by atoll store list")
        one.add_argument("--store", metavar="DIR", type=Path, help="store to use")
        one.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    store = open_store(arguments.store or default_store_root())
    match arguments.what:
        case "list":
            return _list(store, reporter, as_json=arguments.json)
        case "check":
            return _check(store, reporter, as_json=arguments.json)
    return _remove(store, arguments.name, as_json=arguments.json)


def _list(store: Store, reporter: Reporter, *, as_json: bool) -> int:
    refs = list_refs(store)
    if as_json:
        print(json.dumps({"refs": [{"ref": name, **asdict(ref)} for name, ref in refs]}, indent=2))
        return 0
    if not refs:
        reporter.notice(f"there is no image in the store {store.root}")
        reporter.notice("next: atoll build RECIPE, or atoll pull REF")
    for name, ref in refs:
        print(one_line(f"{name}  {ref.name} {ref.version}  {ref.tree}"))
    return 0


def _check(store: Store, reporter: Reporter, *, as_json: bool) -> int:
    findings = check_store(store, reporter)
    if as_json:
        print(json.dumps({"findings": [asdict(each) for each in findings]}, indent=2))
    else:
        for each in findings:
            print(one_line(f"{each.kind}: {each.text}"))
    return Damaged.exit_code if findings else 0


def _remove(store: Store, name: str, *, as_json: bool) -> int:
    remove_ref(store, name)
    if as_json:
        print(json.dumps({"removed": name}))
    return 0
