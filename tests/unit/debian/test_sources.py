"""Sources of packages: parsing apt's files, and writing them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import Damaged
from atoll.debian.isolated_apt import format_configuration, parse_host_options, sources_id
from atoll.debian.preferences import format_preferences
from atoll.debian.sources import (
    AptSource,
    choose_own_sources,
    format_sources,
    parse_deb822_sources,
    parse_release_date,
    parse_sources_list,
    read_own_sources,
)

TRIXIE = AptSource(
    name="trixie",
    uri="http://mirror.example/debian",
    suite="trixie",
    components=("main", "contrib"),
)


def test_only_how_to_reach_a_mirror_is_taken_from_the_machine() -> None:
    dump = (
        'APT::Architecture "amd64";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::http::Proxy "http://proxy:3128";\n'
        'Acquire::https::Proxy::host.example "DIRECT";\n'
        'Dir::Cache "var/cache/apt";\n'
    )
    assert parse_host_options(dump) == (
        'Acquire::Check-Valid-Until "false";',
        'Acquire::http::Proxy "http://proxy:3128";',
        'Acquire::https::Proxy::host.example "DIRECT";',
    )


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_the_date_of_a_release_file(seconds: int) -> None:
    date = datetime.fromtimestamp(seconds, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
    assert parse_release_date(f"Origin: Debian\nDate: {date}\nSuite: stable\n") == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Origin: Debian\n",
        "Date: yesterday\n",
        f"Date: {'9' * 30} May 2026 09:00:00 UTC\n",
        f"Date: Sat, 10 May {'9' * 20} 09:00:00 UTC\n",
        "Date: 1 Jan 1960 00:00:00 UTC\n",
        "Date: Sat, 31 Dec 9999 23:59:59 -1200\n",
    ],
)
def test_a_release_file_without_a_date_is_damaged(text: str) -> None:
    with pytest.raises(Damaged):
        parse_release_date(text)


def test_the_lines_of_a_sources_list() -> None:
    text = (
        "# a comment\n"
        "deb http://mirror.example/debian/ trixie main contrib\n"
        "deb [signed-by=/k.gpg arch=amd64] http://other.example/s trixie-security main\n"
        "deb-src http://mirror.example/debian trixie main\n"
    )
    found = parse_sources_list(text)
    assert found[0] == TRIXIE
    assert (found[1].uri, found[1].name) == ("http://other.example/s", "trixie-security")
    assert len(found) == 2


def test_sources_as_apt_reads_them() -> None:
    vendor = AptSource(
        name="vendor",
        uri="https://v.example",
        suite="./",
        components=(),
        key=Path("/k.asc"),
        architectures=("amd64", "i386"),
        dated=True,
    )
    assert format_sources([TRIXIE, vendor]) == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\n"
        "Components: main contrib\n"
        "\n"
        "Types: deb\nURIs: https://v.example\nSuites: ./\nArchitectures: amd64 i386\n"
        "Signed-By: /k.asc\nCheck-Valid-Until: no\n"
    )


def test_another_source_has_another_directory() -> None:
    other = AptSource(name="trixie", uri="http://x", suite="trixie", components=("main",))
    names = {
        sources_id([TRIXIE], ["amd64"]),
        sources_id([TRIXIE], ["amd64", "i386"]),
        sources_id([other], ["amd64"]),
        sources_id([TRIXIE, other], ["amd64"]),
    }
    assert len(names) == 4


def test_apt_reads_no_configuration_of_the_machine() -> None:
    text = format_configuration(Path("/c"), ["amd64", "i386"], ['Acquire::Retries "3";'])
    assert 'Dir "/c";\n' in text and 'Dir::Etc::parts "/dev/null";\n' in text
    assert 'APT::Architectures { "amd64"; "i386"; };\n' in text
    assert text.endswith('Acquire::Retries "3";\n')


def test_preferences_name_a_repository_by_its_release() -> None:
    vendor = AptSource(
        name="vendor",
        uri="https://v.example/apt",
        suite="x",
        components=("main",),
        priority=90,
        repository="vendor",
    )
    release = {"vendor": "Origin: Vendor, Inc.\nLabel: V\nSuite: x\nSHA256:\n a: b\n"}
    text = format_preferences(
        [TRIXIE, vendor], release, versions=[("a", "1.*")], taken=[("b", "vendor")], local=[]
    )
    assert text == (
        "Package: a\nPin: version 1.*\nPin-Priority: 1001\n"
        "\n"
        "Package: b\nPin: release l=V,a=x\nPin-Priority: 995\n"
        "\n"
        "Package: *\nPin: release l=V,a=x\nPin-Priority: 90\n"
    )
    bare = format_preferences([vendor], {}, versions=[], taken=[], local=[])
    assert 'Pin: origin "v.example"' in bare


LIST = """\
# deb http://old.example/debian trixie main
deb http://mirror.example/debian/ trixie main
deb [signed-by=/x.gpg] http://mirror.example/security trixie-security main
deb http://mirror.example/debian forky main
"""
DEB822 = """\
Types: deb deb-src
URIs: http://two.example/debian/
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://three.example/security
Suites: trixie-security
Enabled: no
"""


def test_debians_sources_of_this_machine() -> None:
    sources = (*parse_sources_list(LIST), *parse_deb822_sources(DEB822))
    found = choose_own_sources(sources, "trixie", ("main", "contrib"))
    assert [(each.suite, each.uri) for each in found] == [
        ("trixie", "http://mirror.example/debian"),
        ("trixie-security", "http://mirror.example/security"),
        ("trixie-updates", "http://two.example/debian"),
    ]
    assert {each.components for each in found} == {("main", "contrib")}
    assert choose_own_sources(sources, "bookworm", ("main",)) == ()


def test_lists_that_apt_does_not_have_yet_are_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that was just installed has never downloaded lists."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/debian.sources").write_text(DEB822)
    (tmp_path / "parts/vendor.list").write_text("deb http://vendor.example trixie main\n")
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::Etc::parts "/dev/null";\nDir::State::lists "{tmp_path}/none";\n'
        f'Dir::Etc::sourcelist "{tmp_path}/none";\nDir::Etc::sourceparts "{tmp_path}/parts";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    found = read_own_sources("trixie", ("main",))
    assert [(each.suite, each.uri) for each in found] == [
        ("trixie", "http://two.example/debian"),
        ("trixie-updates", "http://two.example/debian"),
    ]
