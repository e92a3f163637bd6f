"""A registry with versions of examples/hello, and machines that follow it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.registry_server import registry, run

from .conftest import FOLLOWED, Built, build_version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vmtest import Machine

HOST = "10.0.2.2"
"""The host's loopback interface, as a machine with QEMU's user network sees it."""
NAME, REPOSITORY = FOLLOWED.removeprefix("docker://").split("/", 1)
CONFIGURATION = """[[registry]]
prefix = "%s"
location = "%s"
insecure = true
"""


TWO = """
[[file]]
path = "/etc/two.conf"
text = "two\\n"
"""
"""What a version 2 has beyond examples/hello."""


class ImageRegistry:
    """Offers versions under the name that the machines' disks follow."""

    def __init__(self, folder: Path, address: str, lock: Path) -> None:
        self.folder = folder
        self.address = address
        self.lock = lock
        """Of the image that the machines have: later versions have its packages, for speed."""

    def build(self, version: str, *additions: str, changes: dict[str, str] | None = None) -> Built:
        """A version that is offered from now on."""
        built = build_version(self.folder, version, *additions, changes=changes, lock=self.lock)
        self.offer(built)
        return built

    def offer(self, image: Built) -> None:
        """From now on the name that machines follow is this image."""
        target = f"docker://{self.address}/{REPOSITORY}"
        run("skopeo", "copy", "--quiet", "--dest-tls-verify=false", image.layout, target)

    def configure(self, machine: Machine) -> None:
        """A registry without TLS is one that an administrator has to name."""
        port = self.address.rpartition(":")[2]
        machine.succeed("mkdir -p /etc/containers/registries.conf.d")
        written = machine.run(
            "cat > /etc/containers/registries.conf.d/test.conf",
            stdin=(CONFIGURATION % (NAME, f"{HOST}:{port}")).encode(),
        )
        assert written.status == 0


@contextmanager
def start_registry(folder: Path, lock: Path) -> Iterator[ImageRegistry]:
    with registry(folder) as address:
        yield ImageRegistry(folder, address, lock)


def deployments(machine: Machine) -> list[dict[str, Any]]:
    """What ``atoll status`` says of each, the newest first."""
    found: list[dict[str, Any]] = json.loads(machine.succeed("atoll status --json"))["deployments"]
    return found


def find_deployment(machine: Machine, mark: str = "booted") -> dict[str, Any]:
    """The only one with this mark of ``atoll status``."""
    (found,) = [each for each in deployments(machine) if each[mark]]
    return found
