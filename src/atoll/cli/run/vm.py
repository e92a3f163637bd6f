"""``atoll vm``: what it does; ``cli/vm.py`` has its arguments."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError
from atoll.cli import vm_setup
from atoll.cli.reported_image import find_reported
from atoll.host.fs import read_regular
from atoll.host.run import running
from atoll.machine.report.parse_report import REPORT_LIMIT, parse_report
from atoll.vm.qemu import VmSpec, copy_variables, find_firmware, plan_command

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter

_SCREEN = ("-vga", "std", "-device", "virtio-keyboard-pci", "-device", "virtio-tablet-pci")
DISPLAYS = {
    "none": ("-display", "none", "-vga", "none"),
    "gtk": ("-display", "gtk", *_SCREEN),
    "sdl": ("-display", "sdl", *_SCREEN),
    "vnc": ("-display", "vnc=127.0.0.1:0,to=99", *_SCREEN),
}


@contextmanager
def _opened_disk(arguments: argparse.Namespace, reporter: Reporter) -> Iterator[Path]:
    """A disk that the machine may write to, gone afterwards."""
    if arguments.report is not None:
        if arguments.image != "." or arguments.variant is not None:
            raise UsageError("--report names the image already", hint="leave the other one out")
        data = read_regular(arguments.report, limit=REPORT_LIMIT, follow=True)
        reported = parse_report(data, where=str(arguments.report))
        word = find_reported(reported, arguments.store, reporter)
        with vm_setup.temporary_disk(
            word, arguments, reporter, recipe=None, live=arguments.live
        ) as (disk, _):
            yield disk
        return
    if vm_setup.is_disk_image(Path(arguments.image)):
        with vm_setup.copied_disk(Path(arguments.image), reporter) as disk:
            yield disk
        return
    reference = vm_setup.find_reference(arguments, arguments.image)
    recipe = vm_setup.find_recipe(arguments.image)
    with vm_setup.temporary_disk(
        reference, arguments, reporter, recipe=recipe, live=arguments.live
    ) as (disk, _):
        yield disk


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    with _opened_disk(arguments, reporter) as disk:
        kvm = vm_setup.choose_kvm(reporter)
        firmware = find_firmware()
        machine = VmSpec(
            disk=disk,
            firmware=firmware,
            variables=copy_variables(firmware, disk.parent),
            kvm=kvm,
            memory=arguments.memory,
            cpus=vm_setup.choose_cpus(arguments.cpus, kvm=kvm),
            arguments=("console=ttyS0",),
            ssh_port=arguments.ssh_port,
            stick=arguments.live,
        )
        if arguments.ssh_port is not None:
            reporter.notice(f"SSH: ssh -p {arguments.ssh_port} USER@127.0.0.1")
        reporter.notice("power it off inside, or stop it here with Ctrl-A X")
        command = plan_command(
            machine,
            *DISPLAYS[arguments.display],
            "-chardev",
            "stdio,id=console,mux=on,signal=off",
            "-serial",
            "chardev:console",
            "-mon",
            "chardev=console",
        )
        with running(command) as process:
            status = process.wait()
    return 0 if status == 0 else 1
