"""dpkg's database: installed packages, owners, diversions."""

from __future__ import annotations

from atoll.debian.dpkg_database import Package, parse_diversions, parse_owners, parse_status

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 1:1.3
Description: compression
 Package: not-a-field

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: adduser
Status: install ok installed
Architecture: all
Version: 3.152
"""


def test_only_installed_packages_count() -> None:
    assert parse_status(STATUS) == (
        Package(name="adduser", version="3.152", architecture="all"),
        Package(name="zlib1g", version="1:1.3", architecture="amd64"),
    )


def test_a_diverted_file_is_owned_where_it_is() -> None:
    diversions = "/boot/vmlinuz-6\n/usr/lib/modules/6/vmlinuz\n:\n"
    diversions += "/usr/bin/sh\n/usr/bin/sh.distrib\nother\n"
    assert list(parse_diversions(diversions)) == [
        ("/boot/vmlinuz-6", ("/usr/lib/modules/6/vmlinuz", None)),
        ("/usr/bin/sh", ("/usr/bin/sh.distrib", "other")),
    ]
    lists = [
        ("dash", "/.\n/usr/bin\n/usr/bin/sh\n"),
        ("linux-image-6", "/.\n/boot\n/boot/vmlinuz-6\n"),
        ("other", "/usr/bin/sh\n"),
    ]
    assert parse_owners(lists, diversions) == {
        "/boot": "linux-image-6",
        "/usr/bin": "dash",
        "/usr/bin/sh": "other",
        "/usr/bin/sh.distrib": "dash",
        "/usr/lib/modules/6/vmlinuz": "linux-image-6",
    }
