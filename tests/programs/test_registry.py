"""A real registry (Debian's docker-registry), filled by skopeo: Atoll pulls what others serve."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import MissingPrivilege, NotFound
from atoll.base.report import NullReporter
from atoll.host.http import RetryPolicy
from atoll.oci.pull import apply_pull
from atoll.oci.pull_plan import plan_pull
from atoll.oci.reference import parse_reference
from atoll.oci.source import opened_source
from atoll.store.check import check_store
from atoll.store.layout import open_store
from atoll.store.tree_images import read_image
from tests.images import publish
from tests.registry_server import registry, run

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.oci.pull_plan import PullPlan

FILES = {
    "/usr/bash/bash": bytes(range(256)) * 9000,
    "/usr/zlib/zlib": b"zlib" * 70_001,
    "/etc/motd": b"An atoll.\n",
}
LOGIN = ("me", "secret")
QUICK = RetryPolicy(attempts=2, first_pause=0.01)


def push(where: Path, address: str, tag: str, *options: str) -> None:
    run(
        "skopeo",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        *options,
        f"oci:{where / 'layout'}:{tag}",
        f"docker://{address}/team/hello:{tag}",
    )


def pull(where: Path, address: str, tag: str) -> PullPlan:
    store = open_store(where / "store", create=True)
    reference = parse_reference(f"docker://{address}/team/hello:{tag}")
    with opened_source(reference, retry=QUICK) as source:
        plan = plan_pull(source, store)
        apply_pull(plan, source, store, NullReporter())
    read_image(store, plan.image.record.tree)
    assert check_store(store, NullReporter()) == ()
    return plan


def test_two_versions_come_from_a_real_registry(tmp_path: Path) -> None:
    first = publish(tmp_path, FILES)
    second = publish(tmp_path, FILES | {"/usr/zlib/zlib": b"ZLIB" * 70_001}, tag="two")
    with registry(tmp_path) as address:
        push(tmp_path, address, "one")
        push(tmp_path, address, "two")
        plan = pull(tmp_path, address, "one")
        assert (plan.image.digest, plan.image.record.tree) == (first.digest, first.tree)
        plan = pull(tmp_path, address, "two")
        assert plan.image.record.tree == second.tree
        assert [each.title for each in plan.missing] == ["zlib"]
        assert pull(tmp_path, address, "two").is_here
        with pytest.raises(NotFound, match="three"):
            pull(tmp_path, address, "three")


def test_a_real_registry_that_wants_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("htpasswd") is None:
        pytest.skip("needs htpasswd (apache2-utils)")
    image = publish(tmp_path, FILES)
    run("htpasswd", "-Bbc", str(tmp_path / "passwords"), *LOGIN)
    auth = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(auth))
    with registry(tmp_path, passwords=tmp_path / "passwords") as address:
        push(tmp_path, address, "one", "--dest-creds", ":".join(LOGIN))
        auth.write_text("{}")
        with pytest.raises(MissingPrivilege, match="requires a login"):
            pull(tmp_path, address, "one")
        run(
            "skopeo",
            "login",
            "--tls-verify=false",
            "--authfile",
            str(auth),
            "--username",
            LOGIN[0],
            "--password",
            LOGIN[1],
            address,
        )
        assert pull(tmp_path, address, "one").image.digest == image.digest


def test_an_interrupted_download_resumes_at_a_real_registry(tmp_path: Path) -> None:
    files = FILES | {"/usr/bash/bash": os.urandom(3 << 20)}
    image = publish(tmp_path, files, contents=False)
    with registry(tmp_path) as address:
        push(tmp_path, address, "one")
        store = open_store(tmp_path / "store", create=True)
        reference = parse_reference(f"docker://{address}/team/hello:one")
        with opened_source(reference, retry=QUICK) as source:
            blob = max(
                (each.blob for each in plan_pull(source, store).layers), key=lambda each: each.size
            )
        name = blob.digest.removeprefix("sha256:")
        whole = (tmp_path / "layout" / "blobs" / "sha256" / name).read_bytes()
        (store.root / "downloads").mkdir()
        (store.root / "downloads" / name).write_bytes(whole[: 1 << 20])
        plan = pull(tmp_path, address, "one")
        assert plan.image.record.tree == image.tree
        assert sum(each.downloaded for each in plan.layers) == 1 << 20
