"""Debian's docker-registry over TLS with an own authority: what skopeo can fetch, Atoll can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import AtollError, MissingPrivilege, NetworkError
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.host.http import RetryPolicy
from atoll.oci.pull import pull_image
from atoll.oci.reference import LayoutReference, parse_reference
from atoll.oci.source import opened_source
from atoll.store.layout import open_store
from tests.images import MadeImage, publish
from tests.machines import Maker
from tests.registry_server import run
from vmtest.service import free_port, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.base.ids import TreeId
    from atoll.oci.reference import Reference

FILES = {"/usr/bash/bash": bytes(range(256)) * 90, "/etc/motd": b"An atoll.\n"}
QUICK = RetryPolicy(attempts=1, first_pause=0.01)


@pytest.fixture(autouse=True)
def programs() -> None:
    for name in ("docker-registry", "skopeo", "openssl", "htpasswd"):
        if shutil.which(name) is None:
            pytest.skip(f"needs {name}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own home; ``PATH`` begins with its ``bin``."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "auth.json"))
    (tmp_path / "auth.json").write_text("{}")
    (tmp_path / "home" / "bin").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'home' / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "home"


def certified(folder: Path, name: str, *, by: str | None = None, more: str = "") -> None:
    """``name.crt`` and ``name.key``, signed by ``by`` or by itself."""
    signed = ["-CA", f"{folder}/{by}.crt", "-CAkey", f"{folder}/{by}.key"] if by else []
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-keyout",
        f"{folder}/{name}.key",
        "-out",
        f"{folder}/{name}.crt",
        *(["-addext", more] if more else []),
        *signed,
    )


@contextmanager
def tls_registry(folder: Path, *, clients: bool = False, passwords: bool = False) -> Iterator[str]:
    """Its address; ``ca.crt`` in ``folder`` is its authority, ``client.crt`` who may come."""
    certified(folder, "ca", more="basicConstraints=critical,CA:TRUE")
    certified(folder, "server", by="ca", more="subjectAltName=DNS:localhost,IP:127.0.0.1")
    certified(folder, "client", by="ca", more="extendedKeyUsage=clientAuth")
    port = free_port()
    tls: dict[str, object] = {
        "certificate": f"{folder}/server.crt",
        "key": f"{folder}/server.key",
    }
    if clients:
        tls["clientcas"] = [f"{folder}/ca.crt"]
    config: dict[str, object] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": f"{folder}/kept"}},
        "http": {"addr": f"127.0.0.1:{port}", "tls": tls},
    }
    if passwords:
        run("htpasswd", "-Bbc", f"{folder}/passwords", "me", "secret")
        config["auth"] = {"htpasswd": {"realm": "here", "path": f"{folder}/passwords"}}
    (folder / "config.json").write_text(json.dumps(config))
    clean = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
    argv = ["docker-registry", "serve", f"{folder}/config.json"]
    with serving(argv, port=port, log=folder / "log", env=clean):
        yield f"localhost:{port}"


def certs_of(home: Path, address: str) -> Path:
    folder = home / ".config" / "containers" / "certs.d" / address
    folder.mkdir(parents=True)
    return folder


def push(image: MadeImage, address: str, *options: str) -> None:
    run(
        "skopeo",
        "copy",
        "--quiet",
        *options,
        f"oci:{image.layout.directory}:one",
        f"docker://{address}/team/hello:one",
    )


def skopeo_fetches(address: str, where: Path) -> bool:
    shutil.rmtree(where, ignore_errors=True)
    words = ["skopeo", "copy", "--quiet", f"docker://{address}/team/hello:one", f"dir:{where}"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def pull(reference: str | Reference, where: Path) -> TreeId:
    store = open_store(where, create=True)
    found = parse_reference(reference) if isinstance(reference, str) else reference
    with opened_source(found, architecture="amd64", retry=QUICK) as source:
        return pull_image(source, store, NullReporter()).record.tree


def both_fetch(address: str, tmp_path: Path) -> TreeId | AtollError:
    """What Atoll has to say, which is what skopeo says: an image or none."""
    try:
        found: TreeId | AtollError = pull(f"docker://{address}/team/hello:one", tmp_path / "store")
    except AtollError as error:
        found = error
    assert skopeo_fetches(address, tmp_path / "skopeo") is not isinstance(found, AtollError)
    return found


def test_https_on_this_machine_with_an_own_authority(tmp_path: Path, home: Path) -> None:
    image = publish(tmp_path, FILES)
    with tls_registry(tmp_path) as address:
        push(image, address, "--dest-tls-verify=false")
        error = both_fetch(address, tmp_path)
        assert isinstance(error, NetworkError)
        assert f"certs.d/{address}/ca.crt" in (error.hint or "")
        certs = certs_of(home, address)
        shutil.copy(tmp_path / "client.crt", certs / "another.crt")
        shutil.copy(tmp_path / "ca.crt", certs / "our-company.crt")
        assert both_fetch(address, tmp_path) == image.tree


def test_a_client_certificate(tmp_path: Path, home: Path) -> None:
    image = publish(tmp_path, FILES)
    with tls_registry(tmp_path, clients=True) as address:
        certs = certs_of(home, address)
        shutil.copy(tmp_path / "ca.crt", certs / "ca.crt")
        assert isinstance(both_fetch(address, tmp_path), NetworkError)
        shutil.copy(tmp_path / "client.crt", certs / "me.cert")
        with pytest.raises(AtollError, match=r"no matching me\.key"):
            pull(f"docker://{address}/team/hello:one", tmp_path / "store")
        shutil.copy(tmp_path / "client.key", certs / "me.key")
        push(image, address)
        assert both_fetch(address, tmp_path) == image.tree


def test_a_disk_and_a_pull_by_the_command_line(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``atoll disk docker://…`` needs no other program to copy the image first."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    maker = Maker(tmp_path / "maker")
    tree = maker.publish("1").tree
    with tls_registry(tmp_path) as address:
        word = f"docker://{address}/team/hello:one"
        source = f"oci:{tmp_path}/maker/layout:hello"
        run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", source, word)
        assert main(["disk", word, str(tmp_path / "x.img")]) == 5
        assert f"certs.d/{address}/ca.crt" in capsys.readouterr().err
        assert not (tmp_path / "data/atoll").exists()
        shutil.copy(tmp_path / "ca.crt", certs_of(home, address) / "ca.crt")
        assert main(["disk", word, str(tmp_path / "x.img"), "--json"]) == 0
        said = capsys.readouterr()
        assert json.loads(said.out)["tree"] == tree
        assert f"Fetching {word}" in said.err
        assert main(["pull", word]) == 0
        assert "is already in the store" in capsys.readouterr().err
    assert (tmp_path / "x.img").stat().st_size > 1 << 20


HELPER = """#!/bin/sh
[ "$1" = get ] || exit 1
read -r host
[ "$host" = "{address}" ] || {{ echo credentials not found in native keychain; exit 1; }}
echo '{{"ServerURL": "{address}", "Username": "me", "Secret": "{secret}"}}'
"""


def helper(home: Path, address: str, secret: str = "secret") -> None:
    path = home / "bin" / "docker-credential-ours"
    path.write_text(HELPER.format(address=address, secret=secret))
    path.chmod(0o755)


def test_a_password_that_a_helper_keeps(tmp_path: Path, home: Path) -> None:
    image = publish(tmp_path, FILES)
    with tls_registry(tmp_path, passwords=True) as address:
        shutil.copy(tmp_path / "ca.crt", certs_of(home, address) / "ca.crt")
        push(image, address, "--dest-creds", "me:secret")
        assert isinstance(both_fetch(address, tmp_path), MissingPrivilege)
        auth = {"credHelpers": {address: "ours"}}
        (tmp_path / "auth.json").write_text(json.dumps(auth))
        helper(home, address, "wrong-word")
        error = both_fetch(address, tmp_path)
        assert isinstance(error, MissingPrivilege)
        assert "wrong-word" not in f"{error.message} {error.hint}"
        helper(home, address)
        assert both_fetch(address, tmp_path) == image.tree


def test_an_image_for_several_machines_goes_to_a_stick_and_back(tmp_path: Path) -> None:
    """By ``skopeo copy --all``: from a layout to a directory, to an archive, to a layout."""
    image = publish(tmp_path, FILES)
    layout = Path(image.layout.directory)
    path = layout / "index.json"
    entry = json.loads(path.read_text())["manifests"][0]
    entry |= {"platform": {"os": "linux", "architecture": "amd64"}, "annotations": {}}
    data = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [entry],
        }
    ).encode()
    from tests.fake_registry import digest_of

    (layout / "blobs" / "sha256" / digest_of(data)[7:]).write_bytes(data)
    top = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": digest_of(data),
        "size": len(data),
        "annotations": {"org.opencontainers.image.ref.name": "one"},
    }
    path.write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    stick = tmp_path / "stick"
    stick.mkdir()
    copy = ["skopeo", "copy", "--quiet", "--all"]
    run(*copy, f"oci:{layout}:one", f"dir:{stick}/dir")
    run(*copy, f"dir:{stick}/dir", f"oci:{stick}/layout:one")
    run(*copy, f"oci:{stick}/layout:one", f"oci-archive:{stick}/image.tar:one")
    assert (
        pull(LayoutReference(directory=f"{stick}/layout", tag="one"), tmp_path / "a") == image.tree
    )
    assert pull(f"oci-archive:{stick}/image.tar:one", tmp_path / "b") == image.tree
