"""``atoll check`` with a real mirror: what its package lists say of a recipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from tests.programs import standin

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.network]

RECIPE = """schema = 1
from = "debian:trixie"
image = { name = "x", version = "1" }
[packages]
install = [
    "linux-image-cloud-amd64",
    "systemd-sysv",
    "./atoll.deb",
%s]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    standin.write_atoll(folder)
    return folder


def found(
    shop: Path, capsys: pytest.CaptureFixture[str], *lines: str, more: str = ""
) -> dict[str, list[str]]:
    """Lint to what it says: line, message and hint in one."""
    text = RECIPE % "".join(f'    "{line}",\n' for line in lines)
    (shop / "atoll.toml").write_text(text + more)
    main(["check", str(shop), "--store", str(shop / "store"), "--json", "--quiet"])
    said: dict[str, list[str]] = {}
    for row in json.loads(capsys.readouterr().out)["problems"]:
        said.setdefault(row["lint"], []).append(f"{row['line']}: {row['message']}: {row['hint']}")
    return said


def test_nothing_but_warnings(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warned = {"lock-missing", "login-missing", "network-missing", "no-way-in"}
    assert found(shop, capsys).keys() == warned


def test_each_wrong_word(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = found(
        shop,
        capsys,
        "htopp",
        "steam-installer",
        "vim=1",
        "default-mta",
        more='remove = ["nanoo"]\n',
    )
    unknown = said["package-unknown"]
    assert len(unknown) == 2
    assert unknown[0].startswith("9: ")
    assert "htop" in unknown[0].rpartition("did you mean")[2]
    assert unknown[1].endswith("it is in contrib: add it to [debian] components")
    assert "vim has no version 1" in said["version-unknown"][0]
    assert "nano" in said["removed-unknown"][0].rpartition("did you mean")[2]


def test_a_suite_that_is_not_there(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nosuch" in found(shop, capsys, "vim/nosuch")["source-unknown"][0]


def test_what_does_not_fit_together(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sysvinit-core" in found(shop, capsys, "sysvinit-core")["packages-unmet"][0]


def test_what_follows_from_what_is_installed(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = found(shop, capsys, "dm-writeboost-dkms", "linux-image-amd64")
    assert "dkms" in said["dkms-without-headers"][0]
    assert {"kernels-two", "modules-unsigned"} <= said.keys()


def test_the_first_root_is_of_one_architecture(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = '[debian]\narchitectures = ["i386"]\n'
    assert "packages-unmet" not in found(shop, capsys, "zlib1g:i386", more=more)
