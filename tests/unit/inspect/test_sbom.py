"""SBOMs: their content, reproducible bytes, and validation by a public tool."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from atoll.base.errors import Refused
from atoll.debian.copyright import Licences, parse_copyright
from atoll.debian.dpkg_database import DescribedPackage
from atoll.debian.pin import Pin
from atoll.inspect.sbom import Inventory, format_purl, format_sbom, format_supplier, read_inventory
from atoll.inspect.tree_source import open_tree, opened_image
from atoll.oci.reference import parse_reference
from atoll.store.layout import open_store
from tests.systems import COPYRIGHT, EPOCH, files_of, keep, link, publish, status

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.store.layout import Store

PACKAGES = (
    DescribedPackage(
        name="a+b",
        version="1:2.0~rc1+dfsg-1",
        architecture="amd64",
        source="ab",
        source_version="2.0",
        maintainer="Odd \x1b[31m (Name) <odd@example.org>",
        homepage="javascript:alert(1)",
    ),
    DescribedPackage(
        name="a-2b-b",
        version="1",
        architecture="amd64",
        source="a",
        source_version="1",
        maintainer="Debian A Team <team@lists.example.org>",
        homepage="https://a.example.org/x?y",
    ),
    DescribedPackage(name="c", version="1", architecture="all", source="c", source_version="1"),
)
LICENCES = parse_copyright(COPYRIGHT.replace("odd.", "odd.\x1b]0;title\x07")) or Licences(
    expression="", texts={}
)
INVENTORY = Inventory(
    name="synthetic",
    version="1~x",
    release="13",
    tree="ab" * 32,
    created=EPOCH,
    packages=PACKAGES,
    licences={"a+b": LICENCES, "c": LICENCES},
    pins={
        ("a-2b-b", "1", "amd64"): (
            Pin(
                name="a-2b-b",
                architecture="amd64",
                version="1",
                size=1,
                sha256="cd" * 32,
                archive="main",
                path="pool/a/a_1_amd64.deb",
            ),
            "https://deb.example.org/debian",
        ),
        ("c", "1", "all"): (
            Pin(
                name="c",
                architecture="all",
                version="1",
                size=1,
                sha256="ef" * 32,
                archive="",
                path="./c.deb",
            ),
            "",
        ),
    },
)


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("spdx_tools") is None:
        pytest.skip("needs spdx-tools")
    words = [sys.executable, "-m", "spdx_tools.spdx.clitools.pyspdxtools", "-i", str(path)]
    return subprocess.run(words, check=False, capture_output=True, text=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store", create=True)


def test_a_validator_takes_it(tmp_path: Path) -> None:
    path = tmp_path / "synthetic.spdx.json"
    path.write_bytes(format_sbom(INVENTORY))
    done = validate(path)
    assert done.returncode == 0, done.stdout + done.stderr
    path.write_bytes(format_sbom(replace(INVENTORY, licences={"c": replace(LICENCES, texts={})})))
    assert validate(path).returncode != 0, "the validator looks at nothing"


def test_what_is_said_of_packages() -> None:
    document = json.loads(format_sbom(INVENTORY))
    system, debian, odd, team, local = document["packages"]
    assert system["name"] == "synthetic"
    assert (debian["name"], debian["versionInfo"]) == ("debian", "13")
    purposes = [each.get("primaryPackagePurpose") for each in document["packages"]]
    assert [debian] == [
        each
        for each, purpose in zip(document["packages"], purposes, strict=True)
        if purpose == "OPERATING-SYSTEM"
    ]
    assert odd["supplier"] == "Person: Odd ?[31m (odd@example.org)"
    assert odd["licenseDeclared"].startswith("GPL-3.0-or-later AND LicenseRef-Odd-")
    assert odd["sourceInfo"] == "built package from: ab 2.0"
    assert "homepage" not in odd and "checksums" not in odd
    assert team["supplier"].startswith("Organization: Debian A Team")
    assert team["checksums"] == [{"algorithm": "SHA256", "checksumValue": "cd" * 32}]
    assert team["downloadLocation"] == "https://deb.example.org/debian/pool/a/a_1_amd64.deb"
    assert team["licenseDeclared"] == "NOASSERTION"
    assert (local["downloadLocation"], local["packageFileName"]) == ("NOASSERTION", "c.deb")
    assert len({each["SPDXID"] for each in document["packages"]}) == 5
    assert len(document["relationships"]) == 5
    assert document["creationInfo"]["created"] == "2026-08-29T10:40:00Z"
    assert INVENTORY.tree in document["annotations"][0]["comment"]
    assert "\\u001b" not in format_sbom(INVENTORY).decode()


def test_names_for_others() -> None:
    assert format_purl(PACKAGES[0], "13") == (
        "pkg:deb/debian/a%2Bb@1%3A2.0~rc1%2Bdfsg-1?arch=amd64&distro=debian-13&upstream=ab%402.0"
    )
    assert format_purl(PACKAGES[1], "13").endswith("?arch=amd64&distro=debian-13&upstream=a")
    rebuilt = replace(PACKAGES[2], version="1+b1")
    assert format_purl(rebuilt, "sid") == (
        "pkg:deb/debian/c@1%2Bb1?arch=all&distro=debian-sid&upstream=c%401"
    )
    assert format_purl(PACKAGES[2], "") == "pkg:deb/debian/c@1?arch=all"
    assert format_supplier('"Quoted" <a@b.c>') == "Person: Quoted (a@b.c)"
    assert format_supplier("Somebody <x@debian.org>") == "Person: Somebody (x@debian.org)"
    for nobody in ("", "<a@b.c>", "nobody", "(x) <a@b.c>", f"x <{'a@' * 300_000}>"):
        assert format_supplier(nobody) == "NOASSERTION"


def test_a_tree_is_read_whether_it_is_here_or_not(store: Store, tmp_path: Path) -> None:
    packages = (("bash", "5.2-1", 10), ("bash-doc", "5.2-1", 10), ("odd", "1", 1))
    files = files_of(packages=packages) | {
        "usr/share/doc/bash-doc": link("bash"),
        "usr/share/doc/odd/copyright": link("../nothing/copyright"),
    }
    tree = keep(store, files)
    here = read_inventory(open_tree(store, tree, "one"))
    assert set(here.licences) == {"bash", "bash-doc"}
    assert (here.name, here.version, here.release) == ("small", "1", "trixie")
    tree = keep(store, files | {"etc/debian_version": b"13.1\n"})
    assert read_inventory(open_tree(store, tree, "one")).release == "13"
    tree = keep(store, files)
    word = publish(store, tree, tmp_path / "oci")
    empty = open_store(tmp_path / "empty", create=True)
    with opened_image(parse_reference(word), empty) as opened:
        there = read_inventory(opened)
    assert format_sbom(there) == format_sbom(here)
    path = tmp_path / "small.spdx.json"
    path.write_bytes(format_sbom(here))
    assert validate(path).returncode == 0


def test_what_has_no_packages_is_refused(store: Store) -> None:
    for files in ({"usr/x": b"x"}, {"var/lib/dpkg/status": b""}):
        tree = open_tree(store, keep(store, files), "the tree")
        with pytest.raises(Refused, match="the tree has no package database"):
            read_inventory(tree)
    tree = open_tree(store, keep(store, {"var/lib/dpkg/status": status(("x", "1", 1))}), "t")
    with pytest.raises(Refused, match="before it is pulled"):
        read_inventory(replace(tree, root=None))
    document: dict[str, Any] = json.loads(format_sbom(read_inventory(tree)))
    assert document["creationInfo"]["created"] == "1970-01-01T00:00:00Z"
