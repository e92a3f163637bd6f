"""Remove machine identities from a root, and report files that may be one (``tree.identities``)."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import PackageError
from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.var_rules import VarAction
from atoll.host.fs import remove_tree
from atoll.host.in_root import glob_in_root, in_root
from atoll.tree.identities import IDENTITIES, KEY_SIZE, has_private_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_CLUSTERS = "var/lib/postgresql"
_FIRST_OWN = 16384
"""PostgreSQL gives objects of users ids from here on (``FirstNormalObjectId``)."""
_NUMBER = re.compile(
    rb"\s*(?:[\w-]*(?:uuid|id)\s*[=:]\s*)?\"?(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}"
    rb"[0-9a-f]{12}|[0-9a-f]{32})\"?\s*",
    re.IGNORECASE,
)
_DATABASES = {
    "pg_control": "a PostgreSQL cluster",
    "ibdata1": "a MySQL or MariaDB server's data",
    "data.mdb": "an LDAP directory",
    "WiredTiger": "a MongoDB server's data",
}
_EXPECTED = ("/etc/machine-id",)


def drop_identities(root: Path) -> None:
    """Remove all known identities from a root in the image layout."""
    for identity in IDENTITIES:
        for pattern in identity.etc:
            folder, _, name = f"etc/{pattern}".rpartition("/")
            for path in glob_in_root(root, folder, name):
                path.unlink()
        for name in identity.var:
            path = root / FACTORY[1:] / "var" / name
            if path.is_symlink() or path.is_file():
                path.unlink()
    certificates = in_root(root, "etc/ssl/certs")
    for link in certificates.glob("*.[0-9]") if certificates.is_dir() else ():
        if link.is_symlink() and link.readlink().name == "ssl-cert-snakeoil.pem":
            link.unlink()


def drop_clusters(root: Path, rules: Mapping[str, VarAction]) -> None:
    """Empty the PostgreSQL clusters that packages created; each machine creates its own. ``root``
    has Debian's layout.

    Raises PackageError for a cluster with databases or tables of users, unless ``rules`` name it,
    or the directory of its version, as state.
    """
    for control in sorted((root / _CLUSTERS).glob("*/*/global/pg_control")):
        cluster = control.parent.parent
        path = f"/{cluster.relative_to(root)}"
        if VarAction.STATE in (rules.get(path), rules.get(path.rpartition("/")[0])):
            continue
        own = [path for path in cluster.glob("base/**/*") if _number(path.name) >= _FIRST_OWN]
        if own:
            raise PackageError(
                f"{path} holds databases or tables of your own, and all machines would have one "
                "cluster with one system identifier",
                hint="create them on the machine, in a unit that runs once; or let all machines "
                f'share this one: [var] state = ["{path}"]',
            )
        remove_tree(cluster)
        cluster.mkdir(mode=0o700)
        status = cluster.parent.stat()
        os.chown(cluster, status.st_uid, status.st_gid)


def _number(name: str) -> int:
    digits = re.match(r"\d+", name)
    return int(digits.group()) if digits else 0


def find_unknown(root: Path, shipped: Collection[str]) -> Iterator[str]:
    """Warnings about files in /etc and the factory that may be a secret or an identity.

    ``shipped`` are the paths that packages ship: everyone can download those.
    """
    for top, seen_as in (("etc", "/etc"), (f"{FACTORY[1:]}/var", "/var")):
        for folder, folders, names in os.walk(root / top):
            folders.sort()
            for name in sorted(names):
                path = seen_as + os.path.join(folder, name)[len(str(root / top)) :]  # noqa: PTH118
                file = Path(folder, name)
                if path not in shipped and path not in _EXPECTED and (what := _kind(file)):
                    yield f"{path} is {what}, and all machines of this image will share it"


def _kind(file: Path) -> str | None:
    status = file.lstat()
    if not stat.S_ISREG(status.st_mode):
        return None
    if file.name in _DATABASES:
        return _DATABASES[file.name]
    if status.st_size > KEY_SIZE:
        return None
    content = file.read_bytes()
    if has_private_key(content):
        return "a private key"
    return "the id of a machine or a server" if _NUMBER.fullmatch(content) else None
