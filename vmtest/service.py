"""Servers that machines and tests talk to: on the loopback interface, up while the block lasts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vmtest.errors import MachineError
from vmtest.qemu import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ANSWER_SECONDS = 60
TAIL_BYTES = 2000


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    argv: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server that answers on ``port`` when the block begins and ends with it.

    Raises MachineError with the last words of its ``log`` when it ends, or does not answer in time.
    """
    with log.open("wb") as words:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env=env,
        )
    try:
        deadline = time.monotonic() + ANSWER_SECONDS
        while not _answers(port):
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                last = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
                what = "ended" if ended else f"did not answer in {ANSWER_SECONDS} s"
                raise MachineError(f"{argv[0]} {what}; its last words ({log}):\n{last}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def image_registry(folder: Path, *, passwords: Path | None = None) -> Iterator[str]:
    """The address of a registry (Debian's docker-registry) that keeps its images in ``folder``.

    ``passwords`` is a file of htpasswd. Raises MachineError.
    """
    program = find_program("docker-registry", package="docker-registry")
    port = free_port()
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
    argv = [program, "serve", str(folder / "config.json")]
    with serving(argv, port=port, log=folder / "log", env=clean):
        yield f"127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
