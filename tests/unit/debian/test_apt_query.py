"""Parsing of apt's output about available packages and simulated installations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from atoll.debian.apt_query import (
    AvailablePackage,
    parse_offered,
    parse_simulation,
    parse_unmet,
    read_suites,
)
from atoll.debian.dpkg_database import Package

if TYPE_CHECKING:
    from pathlib import Path

MADISON = """\
      htop |    3.4.1-5 | http://mirror.example/debian trixie/main amd64 Packages
 htop:i386 |    3.4.1-5 | http://mirror.example/debian trixie/main i386 Packages
      mine |        1.0 | file:/srv/flat ./ Packages
      htop |    3.4.1-5 | http://mirror.example/debian trixie/main Sources
"""
SIMULATION = """\
Reading package lists...
Inst htop (3.4.1-5 Debian:13/stable [amd64])
Inst libc6:i386 [1] (2.41-12 Debian:13/stable, Debian:x [i386]) []
Conf htop (3.4.1-5 Debian:13/stable [amd64])
Inst atoll (0.1.0 local-deb [all])
"""
UNMET = """\
Some packages could not be installed.
The following packages have unmet dependencies:
 a : Depends: b but it is not installable
     Recommends: c but it is not going to be installed
E: Unable to correct problems, you have held broken packages.
"""


def test_offers() -> None:
    assert parse_offered(MADISON) == (
        AvailablePackage(
            name="htop", version="3.4.1-5", suite="trixie", component="main", architecture="amd64"
        ),
        AvailablePackage(
            name="htop", version="3.4.1-5", suite="trixie", component="main", architecture="i386"
        ),
        AvailablePackage(name="mine", version="1.0", suite="./", component="", architecture=""),
    )


def test_simulations() -> None:
    assert parse_simulation(SIMULATION) == (
        Package(name="atoll", version="0.1.0", architecture="all"),
        Package(name="htop", version="3.4.1-5", architecture="amd64"),
        Package(name="libc6", version="2.41-12", architecture="i386"),
    )


def test_reasons() -> None:
    assert parse_unmet(UNMET) == [
        "a : Depends: b but it is not installable",
        "Recommends: c but it is not going to be installed",
    ]
    assert parse_unmet("E: no\nE: neither\n") == ["no", "neither"]
    assert parse_unmet("") == ["apt gives no reason"]


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    parse_offered(text)
    parse_simulation(text)
    assert parse_unmet(text)


def test_suites_have_two_names(tmp_path: Path) -> None:
    (tmp_path / "x_InRelease").write_text("Origin: Debian\nSuite: stable\nCodename: trixie\n")
    assert read_suites(tmp_path) == {"stable", "trixie"}
