"""A package archive made for a test: small packages, suites signed by a key that is thrown away.

``serve`` answers on loopback. What an archive was like at some time stays reachable below
``/snapshot/TIME/`` once ``keep_snapshot`` was called, as a snapshot service has it.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING, BinaryIO

from tests.fake_registry import QuietServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BytesIO
    from pathlib import Path

EPOCH = 1_780_000_000


@dataclass
class Key:
    """A signing key in a GnuPG home of its own; ``public`` is the armoured public part."""

    home: Path
    public: Path

    def sign(self, text: Path, signed: Path) -> None:
        self._gpg("--clearsign", "--output", str(signed), str(text))

    def _gpg(self, *words: str) -> bytes:
        argv = [
            "gpg",
            "--batch",
            "--yes",
            "--quiet",
            "--no-tty",
            "--pinentry-mode",
            "loopback",
            "--passphrase",
            "",
            "--homedir",
            str(self.home),
            *words,
        ]
        return subprocess.run(argv, check=True, capture_output=True).stdout

    def end(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False)


def make_key(folder: Path, name: str) -> Key:
    home = folder / name
    home.mkdir(mode=0o700, parents=True)
    key = Key(home=home, public=folder / f"{name}.asc")
    key._gpg("--quick-generate-key", f"{name} <{name}@example>", "ed25519", "sign", "never")
    key.public.write_bytes(key._gpg("--armor", "--export"))
    return key


@dataclass
class Archive:
    """``suites`` holds (stanza of control data, path below the root) by suite."""

    root: Path
    key: Key | None
    origin: str = "Test"
    suites: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(
        self, suite: str, name: str, version: str = "1", *, architecture: str = "all", **more: str
    ) -> Path:
        """Put a package into a suite; ``more`` are control fields (``depends="x"``)."""
        path = f"pool/{name}_{version.replace(':', '%3a')}_{architecture}.deb"
        control = control_text(name, version, architecture, more)
        make_deb(self.root / path, control)
        self.suites.setdefault(suite, []).append((control, path))
        return self.root / path

    def drop(self, suite: str, name: str, *, from_pool: bool = True) -> None:
        kept = []
        for control, path in self.suites[suite]:
            if control.startswith(f"Package: {name}\n"):
                if from_pool:
                    (self.root / path).unlink()
            else:
                kept.append((control, path))
        self.suites[suite] = kept

    def publish(self, *architectures: str, date: int = EPOCH) -> None:
        """Write the lists of all suites, signed when there is a key."""
        for suite, packages in self.suites.items():
            place = self.root / "dists" / suite
            shutil.rmtree(place, ignore_errors=True)
            listed = [
                _write_list(self.root, place, kind, packages)
                for kind in architectures or ("amd64",)
            ]
            when = format_datetime(datetime.fromtimestamp(date, UTC), usegmt=True)
            release = (
                f"Origin: {self.origin}\nLabel: {self.origin}\nSuite: {suite}\nCodename: {suite}\n"
                f"Date: {when}\nArchitectures: {' '.join(architectures or ('amd64',))}\n"
                f"Components: main\nSHA256:\n{''.join(line for part in listed for line in part)}"
            )
            (place / "Release").write_text(release)
            if self.key:
                self.key.sign(place / "Release", place / "InRelease")

    def keep_snapshot(self, time: str) -> None:
        """What is there now stays reachable below ``snapshot/TIME``."""
        target = self.root / "snapshot" / time
        target.mkdir(parents=True)
        for name in ("pool", "dists"):
            shutil.copytree(self.root / name, target / name)


def control_text(name: str, version: str, architecture: str, more: dict[str, str]) -> str:
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": architecture,
        "Maintainer": "Ann <ann@example>",
    }
    fields |= {key.replace("_", "-").title(): value for key, value in more.items()}
    return "".join(f"{key}: {value}\n" for key, value in fields.items()) + f"Description: {name}\n"


def make_deb(path: Path, control: str, files: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = path.with_suffix(".tree")
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(control)
    for name, text in (files or {}).items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    words = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(path)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(EPOCH)}
    subprocess.run(words, check=True, capture_output=True, env=environment)
    shutil.rmtree(tree)


def _write_list(
    root: Path, place: Path, architecture: str, packages: list[tuple[str, str]]
) -> list[str]:
    paragraphs = []
    for control, path in packages:
        kind = next(line.split()[1] for line in control.splitlines() if line.startswith("Arch"))
        if kind not in ("all", architecture):
            continue
        content = (root / path).read_bytes()
        paragraphs.append(
            f"{control}Filename: {path}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    plain = "".join(f"{paragraph}\n" for paragraph in paragraphs).encode()
    lines = []
    for name, content in (("Packages", plain), ("Packages.gz", gzip.compress(plain, mtime=0))):
        relative = f"main/binary-{architecture}/{name}"
        (place / relative).parent.mkdir(parents=True, exist_ok=True)
        (place / relative).write_bytes(content)
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {relative}\n")
    return lines


class _Quiet(SimpleHTTPRequestHandler):
    def send_head(self) -> BytesIO | BinaryIO | None:  # type: ignore[explicit-override]
        # Lists that tests write twice in a second are of the same time to HTTP.
        del self.headers["If-Modified-Since"]
        return super().send_head()

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        pass


@contextmanager
def serve(root: Path) -> Iterator[str]:
    """The address of ``root`` on loopback while the context lasts."""
    server = QuietServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
