"""What ./try shows, step by step: examples/hello becomes a tree, an image, a disk and a machine,
which gets a package of its own, is upgraded and rolled back.

Each step is a command that a person could type; the tour prints it before it runs it. The machine
is driven by ``vmtest``, as in the tests.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from examples.tour_steps import (
    HERE,
    STORE,
    WORK,
    Tour,
    atoll,
    build_example,
    expect,
    indent,
    run,
    run_tour,
    say_how_to_boot,
    show,
    tell_waiting,
)
from vmtest import Disk, Machine, MachineSpec, UserNetwork
from vmtest.gate import Gate, gate_before
from vmtest.service import image_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYOUT = WORK / "hello"
DISK = WORK / "hello.img"
HOST = "10.0.2.2"
"""This machine's loopback interface, as the virtual machine sees it."""
VERSION_TWO = """
[[file]]
path = "/etc/two.conf"
text = "This came with version 2.\\n"
"""
PRECIOUS = "echo kept > /home/atoll/note; echo atoll-rebooted > /etc/hostname; sync"
WIPE = "rm -rf --one-file-system --no-preserve-root /* ; rm -rf /var/* /etc/* /home/*"


def main() -> int:
    keep, breaks = ("--keep" in sys.argv[1:]), ("--break-it" in sys.argv[1:])
    WORK.mkdir(parents=True, exist_ok=True)
    tour = Tour(steps=10 if breaks else 8)
    try:
        status = run_tour(tour, lambda: show_all(tour, breaks=breaks))
    finally:
        if not keep:
            DISK.unlink(missing_ok=True)
    if status == 0:
        say_next(keep=keep)
    return status


def show_all(tour: Tour, *, breaks: bool) -> None:
    one = build(tour)
    show_image(tour, one)
    with registry() as address, gate_before(address, part="/blobs/") as gate:
        reference = f"docker://{HOST}:{gate.address.rpartition(':')[2]}/team/hello:stable"
        offer(address, "1")
        make_disk(tour, reference)
        live(tour, reference, gate, tree=one, breaks=breaks)


def build(tour: Tour) -> str:
    """The tree of version 1."""
    with tour.step("Build examples/hello, and a version 2 of it", "two trees, two OCI images"):
        recipe = (HERE / "examples/hello/atoll.toml").read_text()
        recipe = recipe.replace('version = "1"', 'version = "2"')
        (WORK / "two").mkdir(exist_ok=True)
        (WORK / "two/atoll.toml").write_text(recipe + VERSION_TWO)
        places = (("examples/hello", "1"), (WORK / "two", "2"))
        one, _ = (
            build_example(where, STORE, "--output", f"oci:{LAYOUT}:{version}")
            for where, version in places
        )
        return one


def show_image(tour: Tour, tree: str) -> None:
    with tour.step("The same image, for skopeo and for podman", "others can read it"):
        digest = atoll("tree", "digest", f"oci:{LAYOUT}:1").strip()
        expect(digest == tree, f"the layout holds tree {digest}, not {tree}")
        said = json.loads(run(["skopeo", "inspect", f"oci:{LAYOUT}:1"]))
        print(f"  skopeo: {len(said['Layers'])} layers, {said['Os']}/{said['Architecture']}")
        release = run(
            podman(
                [
                    "run",
                    "--rm",
                    "--network=none",
                    *PODMAN_LIMITS,
                    f"oci:{LAYOUT}:1",
                    "cat",
                    "/etc/os-release",
                ]
            )
        )
        print("  podman: " + release.splitlines()[0])


@contextmanager
def registry() -> Iterator[str]:
    """A registry on the loopback interface; its address."""
    folder = WORK / "registry"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with image_registry(folder) as address:
        yield address


def offer(address: str, version: str) -> None:
    """From now on ``stable`` in the registry is this version."""
    run(
        [
            "skopeo",
            "copy",
            "--quiet",
            "--dest-tls-verify=false",
            f"oci:{LAYOUT}:{version}",
            f"docker://{address}/team/hello:stable",
        ]
    )


def make_disk(tour: Tour, reference: str) -> None:
    with tour.step("Make a bootable disk of version 1", "a disk, without loop devices"):
        DISK.unlink(missing_ok=True)
        atoll("disk", f"oci:{LAYOUT}:1", str(DISK), "--store", str(STORE), "--follow", reference)
        print(f"  {DISK.relative_to(HERE)}: {DISK.stat().st_blocks * 512 / 1e6:.0f} MB on disk")


def live(tour: Tour, reference: str, gate: Gate, *, tree: str, breaks: bool) -> None:
    directory = WORK / "machine"
    shutil.rmtree(directory, ignore_errors=True)
    spec = MachineSpec(disks=(Disk(image=DISK),), memory=1024, network=UserNetwork())
    with Machine(spec, directory, tell=tell_waiting) as machine:
        boot(tour, machine)
        look_inside(tour, machine, tree)
        trust(machine, reference)
        offer(gate.upstream, "2")
        if breaks:
            cut_an_upgrade(tour, machine, gate)
        add_package(tour, machine)
        upgrade(tour, machine)
        if breaks:
            wipe(tour, machine)
        go_back(tour, machine)
        machine.shutdown()


def boot(tour: Tour, machine: Machine) -> None:
    with tour.step("Boot it: firmware, systemd-boot, a verified tree", "a login, nothing failed"):
        machine.start()
        machine.wait_for_system()
        show(machine, "systemctl --failed --no-legend | wc -l", "0")


def look_inside(tour: Tour, machine: Machine, tree: str) -> None:
    with tour.step("Look inside, and write where one may", "the tree cannot be changed"):
        print(indent(machine.succeed("atoll status 2>&1")))
        show(machine, "atoll tree digest /run/atoll/tree", tree)
        print(indent("$ touch /usr/bin/mine\n" + machine.fail("touch /usr/bin/mine 2>&1")))
        machine.succeed(PRECIOUS)


def trust(machine: Machine, reference: str) -> None:
    """A registry without TLS is one that an administrator has to name."""
    host = reference.split("/")[2]
    machine.succeed(
        "mkdir -p /etc/containers/registries.conf.d",
        f"printf '[[registry]]\\nlocation = \"{host}\"\\ninsecure = true\\n'"
        " > /etc/containers/registries.conf.d/try.conf",
    )


def cut_an_upgrade(tour: Tour, machine: Machine, gate: Gate) -> None:
    with tour.step("Pull the plug in the middle of an upgrade", "version 1 boots, complete"):
        gate.shut()
        machine.succeed("systemd-run --quiet --unit=upgrade --remain-after-exit atoll upgrade")
        while not gate.holds(seconds=2):
            state = machine.succeed("systemctl show -P SubState upgrade.service").strip()
            words = machine.succeed("journalctl -u upgrade.service -o cat")
            expect(state == "running", f"the upgrade fetched nothing, and has ended:\n{words}")
        print("  the registry holds back half of what the upgrade fetches: power cut")
        machine.power_cut()
        gate.open()
        machine.start()
        machine.wait_for_system()
        show(machine, "cat /home/atoll/note; atoll status --json | grep -c number", "kept\n1")


def add_package(tour: Tour, machine: Machine) -> None:
    with tour.step("Add a package to the running machine", "htop is there, without a reboot"):
        machine.fail("command -v htop")
        command = "atoll add --live htop"
        print(indent(f"# {command}\n" + machine.succeed(f"{command} 2>&1", timeout=900)))
        show(machine, "command -v htop", "/usr/bin/htop")


def upgrade(tour: Tour, machine: Machine) -> None:
    with tour.step("Upgrade to version 2 from a registry", "version 2, with all that was yours"):
        print(indent(machine.succeed("atoll plan 2>/dev/null", timeout=900)))
        print(indent("# atoll upgrade\n" + machine.succeed("atoll upgrade 2>&1", timeout=1800)))
        machine.reboot()
        machine.wait_for_system()
        show(
            machine,
            "cat /home/atoll/note /etc/hostname /etc/two.conf; command -v htop",
            "kept\natoll-rebooted\nThis came with version 2.\n/usr/bin/htop",
        )
        status = json.loads(machine.succeed("atoll status --json"))
        (tree,) = [each["tree"] for each in status["deployments"] if each["booted"]]
        show(machine, "atoll tree digest /run/atoll/tree", tree)


def wipe(tour: Tour, machine: Machine) -> None:
    with tour.step("rm -rf /* as root, and pull the plug", "it boots; what was in /home is gone"):
        machine.execute(WIPE)
        machine.power_cut()
        machine.start()
        machine.wait_for_system()
        show(machine, "systemctl --failed --no-legend | wc -l", "0")


def go_back(tour: Tour, machine: Machine) -> None:
    with tour.step("Roll back to version 1", "version 1 again"):
        print(indent("# atoll rollback\n" + machine.succeed("atoll rollback 2>&1")))
        machine.reboot()
        machine.wait_for_system()
        show(machine, "find /etc -name two.conf | wc -l", "0")
        print(indent(machine.succeed("atoll status 2>&1")))


def say_next(*, keep: bool) -> None:
    if not keep:
        print("\nLook around yourself: ./try --keep leaves the disk image and says how to boot it.")
        return
    say_how_to_boot(DISK)
    print("\nLog in as atoll, password atoll; leave QEMU with Ctrl-A X. Then, for example:")
    print("  atoll status · findmnt · sudo touch /usr/x · sudo apt install hello")


PODMAN_LIMITS = ("--cgroups=disabled", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")


def podman(words: list[str]) -> list[str | Path]:
    """A podman command; it needs control groups as systemd mounts them today."""
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        return ["podman", *words]
    inner = shlex.join(["podman", *words])
    return ["unshare", "-m", "sh", "-c", f"mount -t cgroup2 none /sys/fs/cgroup && exec {inner}"]


if __name__ == "__main__":
    sys.exit(main())
