"""Details of packages in a status file, also when fields are missing."""

from __future__ import annotations

from atoll.debian.dpkg_database import DescribedPackage, parse_package_details

STATUS = """Package: libstdc++6
Status: install ok installed
Installed-Size: 2500
Maintainer: Somebody <some@example.org>
Architecture: amd64
Source: gcc-14 (14.2.0-19)
Version: 14.2.0-19+b1
Homepage: https://gcc.example.org/
Description: one
 two: three
 .

Package: gone
Status: deinstall ok config-files
Version: 1
Architecture: all


Package: odd
Status: hold ok installed
Installed-Size: many
Architecture: all
Source: other
Version: 1

Package: without
Status: install ok installed
"""


def test_what_is_said_of_a_package() -> None:
    library, odd = parse_package_details(STATUS)
    assert library == DescribedPackage(
        name="libstdc++6",
        version="14.2.0-19+b1",
        architecture="amd64",
        source="gcc-14",
        source_version="14.2.0-19",
        size=2500 * 1024,
        maintainer="Somebody <some@example.org>",
        homepage="https://gcc.example.org/",
    )
    assert (odd.source, odd.source_version, odd.size) == ("other", "1", None)
    assert parse_package_details("") == ()
