"""Write a software bill of materials (SBOM) in SPDX 2.3 JSON. Reproducible: same tree, same bytes.

::

    the document ─DESCRIBES→ the system ─CONTAINS→ its operating system, Debian
                                        ─CONTAINS→ each Debian package

Vulnerability scanners find advisories by three things: the operating system (a package with that
purpose, and ``distro`` in each purl), the source package (``upstream`` in the purl, and "built
package from"), and the version.

The data of a package are from dpkg's database and its copyright file; SHA-256 and download location
of its file are from the lock in the tree, if there is one. Unknown values are NOASSERTION.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from atoll import __version__
from atoll.base.errors import Refused
from atoll.debian.copyright import Licences, parse_copyright
from atoll.debian.dpkg_database import DescribedPackage, parse_package_details
from atoll.image.info import parse_info_fields
from atoll.image.paths import IMAGE_INFO
from atoll.inspect.tree_records import parse_lock_of
from atoll.tree.model import Symlink
from atoll.tree.path_ops import find_node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from atoll.debian.pin import Pin
    from atoll.inspect.tree_source import OpenTree
    from atoll.lock.model import Lock
    from atoll.tree.model import Directory

NOASSERTION = "NOASSERTION"
_NO_ASSERTIONS = {
    "downloadLocation": NOASSERTION,
    "filesAnalyzed": False,
    "licenseConcluded": NOASSERTION,
    "licenseDeclared": NOASSERTION,
    "copyrightText": NOASSERTION,
}
_SYSTEM = "SPDXRef-System"
_DEBIAN = "SPDXRef-OperatingSystem"
_TOOL = f"Tool: atoll-{__version__}"
_RELEASE = "etc/debian_version"
_RELEASED = re.compile(r"[0-9]{1,4}")
_DOCUMENTS = "usr/share/doc"
_COPYRIGHT_LIMIT = 1 << 20
_FIELD_LIMIT = 1000
"""Longer values are ignored: they are not genuine, and regular expressions are slow on them."""
_UNSAFE = re.compile(r"[^A-Za-z0-9.]")
_URL = re.compile(r"https?://[a-z0-9]+([-.][a-z0-9]+)*\.[a-z]{2,5}(:[0-9]{1,5})?(/[!-~]*)?")
_MAINTAINER = re.compile(r"([^<>]*)<([^<>()\s]+@[^<>()\s]+)>")
_ORGANIZATION = re.compile(
    r"\b(team|maintainers?|developers|group|project|packag\w+|debian)\b", re.IGNORECASE
)
_MAILING_LIST = re.compile(r"@(alioth-)?lists\.|@tracker\.|@packages\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The data of an SBOM.

    ``created`` is in seconds since 1970. ``licences`` are by package name, ``pins`` by (name,
    version, architecture), each with the address of its archive. ``release`` is Debian's number,
    such as 13, or the suite if it has no number yet.
    """

    name: str
    version: str
    release: str
    tree: str
    created: int
    packages: tuple[DescribedPackage, ...]
    licences: Mapping[str, Licences]
    pins: Mapping[tuple[str, str, str], tuple[Pin, str]]


def read_inventory(tree: OpenTree) -> Inventory:
    """Read the data of an SBOM from a tree.

    Raises Refused for a tree without package database, or an image that must be pulled first, and
    Damaged.
    """
    if tree.root is None:
        raise Refused(
            f"{tree.title}: Atoll cannot list its contents before it is pulled",
            hint="it has no table of contents: pull it with atoll pull, then name store:NAME",
        )
    packages = parse_package_details(tree.status() or "")
    if not packages:
        raise Refused(
            f"{tree.title} has no package database, so its packages are unknown",
            hint="it is not a system that Atoll built",
        )
    texts = tree.contents([IMAGE_INFO, _RELEASE])
    data = texts.get(IMAGE_INFO)
    info = parse_info_fields(data, where=tree.title) if data is not None else {}
    release = _RELEASED.match(texts.get(_RELEASE, b"").decode(errors="replace"))
    epoch = info.get("epoch")
    created = tree.created if tree.created is not None else epoch
    lock = parse_lock_of(tree)
    return Inventory(
        name=tree.name or str(info.get("name", "system")),
        version=tree.version or str(info.get("version", "")),
        release=release[0] if release else str(info.get("suite") or ""),
        tree=tree.tree,
        created=created if type(created) is int else 0,
        packages=packages,
        licences=_read_licences(tree, packages),
        pins=_pins(lock) if lock else {},
    )


def format_sbom(inventory: Inventory) -> bytes:
    """The JSON text of the document."""
    created = _time(inventory.created)
    ids = dict(_identifiers(inventory.packages))
    texts = {
        name: text
        for licences in inventory.licences.values()
        for name, text in licences.texts.items()
    }
    document: dict[str, Any] = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"{inventory.name}-{inventory.version}".strip("-"),
        "documentNamespace": f"https://spdx.org/spdxdocs/atoll-{inventory.tree}",
        "creationInfo": {"created": created, "creators": [_TOOL]},
        "comment": f"tree {inventory.tree} (fsverity-sha256-4096, composefs format 1)",
        "annotations": [
            {
                "annotationDate": created,
                "annotationType": "OTHER",
                "annotator": _TOOL,
                "comment": f"tree {inventory.tree}",
            }
        ],
        "packages": [
            _system(inventory),
            _debian(inventory.release),
            *(_package(each, ids[each], inventory) for each in inventory.packages),
        ],
        "hasExtractedLicensingInfos": [_licence(name, texts[name]) for name in sorted(texts)],
        "relationships": [
            _relationship("SPDXRef-DOCUMENT", "DESCRIBES", _SYSTEM),
            _relationship(_SYSTEM, "CONTAINS", _DEBIAN),
            *(_relationship(_SYSTEM, "CONTAINS", ids[each]) for each in inventory.packages),
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=True).encode() + b"\n"


def _licence(name: str, text: str) -> dict[str, str]:
    """The text of a licence that is not in SPDX's licence list."""
    return {
        "licenseId": name,
        "name": _printable(name.removeprefix("LicenseRef-")),
        "extractedText": _printable(text),
    }


def _system(inventory: Inventory) -> dict[str, Any]:
    return {
        "SPDXID": _SYSTEM,
        "name": inventory.name,
        **({"versionInfo": inventory.version} if inventory.version else {}),
        "primaryPackagePurpose": "CONTAINER",
        **_NO_ASSERTIONS,
        "supplier": NOASSERTION,
        "comment": f"tree {inventory.tree}",
    }


def _debian(release: str) -> dict[str, Any]:
    version = f":{release}" if release.isdecimal() else ":-"
    return {
        "SPDXID": _DEBIAN,
        "name": "debian",
        **({"versionInfo": release} if release else {}),
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        **_NO_ASSERTIONS,
        "supplier": "Organization: Debian",
        "externalRefs": [
            {
                "referenceCategory": "SECURITY",
                "referenceType": "cpe23Type",
                "referenceLocator": f"cpe:2.3:o:debian:debian_linux{version}:*:*:*:*:*:*:*",
            }
        ],
    }


def _package(package: DescribedPackage, name: str, inventory: Inventory) -> dict[str, Any]:
    licences = inventory.licences.get(package.name)
    pin = inventory.pins.get((package.name, package.version, package.architecture))
    found: dict[str, Any] = {
        "SPDXID": name,
        "name": package.name,
        "versionInfo": package.version,
        "supplier": format_supplier(package.maintainer),
        "downloadLocation": NOASSERTION,
        "filesAnalyzed": False,
        "licenseConcluded": NOASSERTION,
        "licenseDeclared": licences.expression if licences else NOASSERTION,
        "copyrightText": NOASSERTION,
        "sourceInfo": f"built package from: {package.source} {package.source_version}",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": format_purl(package, inventory.release),
            }
        ],
    }
    if len(package.homepage) < _FIELD_LIMIT and _URL.fullmatch(package.homepage):
        found["homepage"] = package.homepage
    if pin is not None:
        one, uri = pin
        found["checksums"] = [{"algorithm": "SHA256", "checksumValue": one.sha256}]
        found["packageFileName"] = one.path.rpartition("/")[2]
        address = f"{uri.rstrip('/')}/{one.path}" if uri else ""
        if len(address) < _FIELD_LIMIT and _URL.fullmatch(address):
            found["downloadLocation"] = address
    return found


def format_purl(package: DescribedPackage, release: str) -> str:
    """Format a package URL: ``pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&…``.

    Each part is percent-encoded. ``upstream`` is the source package, if its name differs or, after
    an ``@``, its version.
    """
    name, version = (quote(text, safe="") for text in (package.name, package.version))
    upstream = package.source
    if package.source_version != package.version:
        upstream += f"@{package.source_version}"
    qualifiers = {
        "arch": package.architecture,
        "distro": f"debian-{release}" if release else "",
        "upstream": "" if upstream == package.name else upstream,
    }
    joined = "&".join(f"{key}={quote(text, safe='')}" for key, text in qualifiers.items() if text)
    return f"pkg:deb/debian/{name}@{version}?{joined}"


def format_supplier(maintainer: str) -> str:
    """Format a maintainer, ``NAME <ADDRESS>``, as SPDX supplier.

    Teams and mailing lists are organizations, others persons.
    """
    match = _MAINTAINER.fullmatch(maintainer.strip()) if len(maintainer) < _FIELD_LIMIT else None
    name = re.sub(r"\s*\([^()]*\)", "", match.group(1)).strip(' "()') if match else ""
    if match is None or not name:
        return NOASSERTION
    address = match.group(2)
    kind = (
        "Organization" if _ORGANIZATION.search(name) or _MAILING_LIST.search(address) else "Person"
    )
    return _printable(f"{kind}: {name} ({address})")


def _identifiers(packages: Iterable[DescribedPackage]) -> Iterator[tuple[DescribedPackage, str]]:
    """A unique SPDXID for each package; only letters, digits, dots and dashes are allowed."""
    used: set[str] = set()
    for package in packages:
        text = f"{package.name}-{package.architecture}"
        plain = _UNSAFE.sub(lambda found: "-" if found[0] == "-" else f"-{ord(found[0]):x}-", text)
        name, number = f"SPDXRef-Package-{plain}", 1
        while name in used:
            number += 1
            name = f"SPDXRef-Package-{plain}-{number}"
        used.add(name)
        yield package, name


def _read_licences(tree: OpenTree, packages: Iterable[DescribedPackage]) -> dict[str, Licences]:
    assert tree.root is not None
    paths = {each.name: _copyright_path(tree.root, each.name) for each in packages}
    texts = tree.contents(sorted({path for path in paths.values() if path}))
    found = {}
    for name, path in paths.items():
        data = texts.get(path or "")
        licences = parse_copyright(data.decode(errors="replace")) if data else None
        if licences is not None:
            found[name] = licences
    return found


def _copyright_path(root: Directory, package: str) -> str | None:
    """The path of a package's copyright file; its directory or file is often a link to another
    package's."""
    directory = f"{_DOCUMENTS}/{package}"
    node = find_node(root, directory)
    if isinstance(node, Symlink):
        target = node.target.decode(errors="surrogateescape").removeprefix(f"/{_DOCUMENTS}/")
        directory = f"{_DOCUMENTS}/{target}"
    path = f"{directory}/copyright"
    file = find_node(root, path)
    if isinstance(file, Symlink):
        target = file.target.decode(errors="surrogateescape")
        path = f"{_DOCUMENTS}/{target.removeprefix('../').removeprefix(f'/{_DOCUMENTS}/')}"
        file = find_node(root, path)
    return None if file is None or getattr(file, "size", 0) > _COPYRIGHT_LIMIT else path


def _pins(lock: Lock) -> dict[tuple[str, str, str], tuple[Pin, str]]:
    """The pins of a lock, each with the address of its archive (empty for a local file)."""
    uris = {archive.name: archive.uri for archive in lock.archives}
    return {
        (pin.name, pin.version, pin.architecture): (pin, uris.get(pin.archive, ""))
        for pin in lock.packages
    }


def _relationship(one: str, kind: str, other: str) -> dict[str, str]:
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def _printable(text: str) -> str:
    """Replace control characters: not every consumer of SBOMs handles them safely."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
