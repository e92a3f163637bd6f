"""What makes a machine that machine: out of the tree, made on the machine, never replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import PackageError
from atoll.builder.finish.factory import FACTORY
from atoll.builder.finish.identities import drop_clusters, drop_identities, find_unknown
from atoll.builder.finish.var_rules import RULES, VarAction
from atoll.tree.etc_rules import Winner, parse_rule, winner, with_defaults
from atoll.tree.identities import IDENTITIES, LOCAL_IN_ETC

if TYPE_CHECKING:
    from atoll.tree.identities import Identity

TOP = Path(__file__).parents[3]
SCRIPT = TOP / "system/usr/lib/atoll/make-identities"
UUID = "0c1f2a3b-4d5e-6f70-8192-a3b4c5d6e7f8"


def write(root: Path, path: str, text: str = "x") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_each_identity_leaves_the_tree(tmp_path: Path) -> None:
    files = [
        write(tmp_path, f"etc/{path.replace('*', 'rsa')}") for one in IDENTITIES for path in one.etc
    ]
    files += [
        write(tmp_path, f"{FACTORY[1:]}/var/{path}")
        for one in IDENTITIES
        for path in one.var
        if path != "postgresql"
    ]
    kept = write(tmp_path, "etc/ssh/sshd_config")
    link = tmp_path / "etc/ssl/certs/12ab34cd.0"
    link.symlink_to("ssl-cert-snakeoil.pem")
    drop_identities(tmp_path)
    assert [path for path in files if path.exists()] == []
    assert kept.exists() and not link.is_symlink()


def test_what_make_identities_makes_is_in_its_script() -> None:
    text = SCRIPT.read_text()
    for one in IDENTITIES:
        if one.made == "make-identities":
            for path in one.etc:
                name = path.rpartition("/")[2]
                stem = re.sub(r"\*.*", "", name)
                assert stem in text or one.package in ("unbound", "dropbear"), path


def test_no_rule_lets_an_image_replace_an_identity() -> None:
    rules = with_defaults((parse_rule("**", "image"),))
    for pattern in (*LOCAL_IN_ETC, "machine-id"):
        assert winner(rules, pattern.replace("*", "rsa")) is Winner.LOCAL
    assert winner(rules, "ssh/sshd_config") is Winner.IMAGE


def test_the_page_has_the_table() -> None:
    rows = "".join(
        f"| {', '.join(f'`{path}`' for path in paths_of(one))} | {one.package} | {one.why} |"
        f" {one.made} |\n"
        for one in IDENTITIES
    )
    assert rows in (TOP / "docs/reference/identities.md").read_text()


def paths_of(one: Identity) -> list[str]:
    return [*(f"/etc/{path}" for path in one.etc), *(f"/var/{path}" for path in one.var)]


def cluster(root: Path) -> Path:
    write(root, "var/lib/postgresql/17/main/global/pg_control")
    write(root, "var/lib/postgresql/17/main/base/5/2619_vm")
    return root / "var/lib/postgresql/17/main"


def test_a_cluster_as_its_package_made_it_is_left_to_the_machine(tmp_path: Path) -> None:
    place = cluster(tmp_path)
    drop_clusters(tmp_path, RULES)
    assert place.is_dir() and not list(place.iterdir())


@pytest.mark.parametrize("path", ["base/16384/PG_VERSION", "base/5/16385"])
def test_a_cluster_with_own_content_stops_the_build_unless_it_is_named(
    tmp_path: Path, path: str
) -> None:
    place = cluster(tmp_path)
    own = write(place, path)
    with pytest.raises(PackageError, match="one system identifier") as caught:
        drop_clusters(tmp_path, RULES)
    assert 'state = ["/var/lib/postgresql/17/main"]' in str(caught.value.hint)
    drop_clusters(tmp_path, {**RULES, "/var/lib/postgresql/17/main": VarAction.STATE})
    assert own.exists()


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("etc/tool/key.pem", "x\n-----BEGIN RSA PRIVATE KEY-----\nAA", "a private key"),
        ("etc/tool/key", "-----BEGIN OPENSSH PRIVATE KEY-----\nAA", "a private key"),
        ("etc/tool/wg.conf", f"[Interface]\nPrivateKey = {'a' * 43}=\n", "a private key"),
        ("etc/tool/hostid", f"{UUID}\n", "the id of a machine"),
        ("etc/tool/node.conf", f'node-id = "{UUID}"\n', "the id of a machine"),
        (f"{FACTORY[1:]}/var/lib/tool/id", UUID.replace("-", "").upper(), "the id of a machine"),
        (f"{FACTORY[1:]}/var/lib/mysql/ibdata1", "x", "MariaDB"),
        (f"{FACTORY[1:]}/var/lib/ldap/data.mdb", "x", "LDAP"),
    ],
)
def test_what_may_be_an_identity_is_told(tmp_path: Path, path: str, text: str, what: str) -> None:
    write(tmp_path, path, text)
    write(tmp_path, "etc/tool/cert.pem", "-----BEGIN CERTIFICATE-----\nAA")
    write(tmp_path, "etc/tool/some.conf", f"a = 1\ndisk = {UUID}\n")
    shown = "/" + path.removeprefix(f"{FACTORY[1:]}/")
    (said,) = find_unknown(tmp_path, ())
    assert said.startswith(f"{shown} is ") and what in said
    assert not list(find_unknown(tmp_path, [shown]))
