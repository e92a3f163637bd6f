"""A real registry (Debian's docker-registry), filled by skopeo: Atoll pulls what others serve."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import MissingPrivilege, NotFound
from atoll.base.report import NullReporter
from atoll.host.web import Patience
from atoll.registry.pull import apply_pull, plan_pull
from atoll.registry.reference import parse_reference
from atoll.registry.source import opened_source
from atoll.store.check import check_store
from atoll.store.images import read_image
from atoll.store.layout import open_store
from tests.images import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atoll.registry.pull import PullPlan

FILES = {
    "/usr/bash/bash": bytes(range(256)) * 9000,
    "/usr/zlib/zlib": b"zlib" * 70_001,
    "/etc/motd": b"An atoll.\n",
}
LOGIN = ("me", "secret")
QUICK = Patience(attempts=2, first_pause=0.01)


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stderr}"


@contextmanager
def registry(folder: Path, *, passwords: Path | None = None) -> Iterator[str]:
    """The address of a registry on the loopback interface that keeps its images in ``folder``."""
    program = shutil.which("docker-registry")
    if program is None or shutil.which("skopeo") is None:
        pytest.skip("needs docker-registry and skopeo")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config: dict[str, object] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "kept")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if passwords:
        config["auth"] = {"htpasswd": {"realm": "here", "path": str(passwords)}}
    (folder / "config.json").write_text(json.dumps(config))
    # The server takes what begins with REGISTRY_ as configuration, REGISTRY_AUTH_FILE, too.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    with (folder / "log").open("wb") as log:
        argv = [program, "serve", str(folder / "config.json")]
        server = subprocess.Popen(argv, stdout=log, stderr=log, env=clean)
    try:
        wait_for(port)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the registry does not answer")


def push(where: Path, address: str, tag: str, *options: str) -> None:
    run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options,
        f"oci:{where / 'layout'}:{tag}", f"docker://{address}/team/hello:{tag}")  # fmt: skip


def pull(where: Path, address: str, tag: str) -> PullPlan:
    store = open_store(where / "store", create=True)
    reference = parse_reference(f"docker://{address}/team/hello:{tag}")
    with opened_source(reference, patience=QUICK) as source:
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
        with pytest.raises(MissingPrivilege, match="wants a login"):
            pull(tmp_path, address, "one")
        run("skopeo", "login", "--tls-verify=false", "--authfile", str(auth),
            "--username", LOGIN[0], "--password", LOGIN[1], address)  # fmt: skip
        assert pull(tmp_path, address, "one").image.digest == image.digest


def test_an_interrupted_download_resumes_at_a_real_registry(tmp_path: Path) -> None:

    image = publish(tmp_path, FILES | {"/usr/bash/bash": os.urandom(3 << 20)})
    with registry(tmp_path) as address:
        push(tmp_path, address, "one")
        store = open_store(tmp_path / "store", create=True)
        reference = parse_reference(f"docker://{address}/team/hello:one")
        with opened_source(reference, patience=QUICK) as source:
            blob = max((each.blob for each in plan_pull(source, store).layers),
                       key=lambda each: each.size)  # fmt: skip
        name = blob.digest.removeprefix("sha256:")
        whole = (tmp_path / "layout" / "blobs" / "sha256" / name).read_bytes()
        (store.root / "downloads").mkdir()
        (store.root / "downloads" / name).write_bytes(whole[: 1 << 20])
        plan = pull(tmp_path, address, "one")
        assert plan.image.record.tree == image.tree
        assert sum(each.downloaded for each in plan.layers) == 1 << 20
