"""How early boot finds the state partition of a machine: what each new boot entry says of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError, Refused
from atoll.host.fs import read_regular
from atoll.machine.boot.luks import find_luks
from atoll.machine.boot.machine_initrd import LIMIT, initrd_place, make_machine_initrd
from atoll.machine.boot.new_entry import LUKS_NAME, StatePartition, find_uuid
from atoll.machine.etc.etc_tree import is_file, node_at
from atoll.machine.keyboard import PLACE, make_keymap, parse_keyboard
from atoll.store.layout import open_store
from atoll.store.objects import can_seal
from atoll.store.tree_images import read_image_bytes
from atoll.tree.erofs_reader import parse_below

if TYPE_CHECKING:
    from atoll.image.bootable import BootableImage
    from atoll.machine.boot.boot_entries import MenuEntry
    from atoll.machine.deployments.state import DeploymentState, MachineState
    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.etc.etc_tree import Node
    from atoll.machine.keyboard import KeyboardLayout

CRYPTSETUP = b"usr/lib/systemd/systemd-cryptsetup"
LOADKEYS = b"usr/bin/loadkeys"


def find_state_partition(
    sysroot: Sysroot, state: MachineState, source: DeploymentState, etc: Node
) -> StatePartition:
    """The state partition as the entry of ``source`` names it, else as the disk does.

    ``etc`` is the live one: it has the layout of the keyboard that the passphrase is typed on.
    """
    named = next(
        (
            (menu_entry, place.removeprefix("UUID="))
            for menu_entry in state.menu.entries_of(source.number)
            if menu_entry.entry is not None
            and (place := menu_entry.entry.option("atoll.state")) is not None
            and place.startswith("UUID=")
        ),
        None,
    )
    if named is not None:
        menu_entry, uuid = named
        assert menu_entry.entry is not None
        verity = menu_entry.entry.option("atoll.verity") == "require"
        luks = (menu_entry.entry.option(LUKS_NAME) or "").partition("=")[0] or None
    else:
        menu_entry, uuid = None, find_uuid(sysroot.root)
        verity, luks = can_seal(open_store(sysroot.atoll).staging), find_luks(sysroot.root)
    initrd = b"" if luks is None else find_machine_initrd(sysroot, menu_entry, etc)
    return StatePartition(uuid=uuid, verity=verity, luks=luks, initrd=initrd)


def find_machine_initrd(sysroot: Sysroot, before: MenuEntry | None, etc: Node) -> bytes:
    """The one for the layout that ``etc`` names, else the one that the entry ``before`` has.

    An image without ckbcomp, or a layout that does not exist, must not change how the passphrase
    is typed, nor block an upgrade.
    """
    keyboard = read_keyboard(etc)
    if keyboard is not None:
        with suppress(AtollError):
            return make_machine_initrd(make_keymap(keyboard))
    name = before.machine_initrd if before is not None else None
    if name is None:
        return b""
    with suppress(AtollError, OSError):
        return read_regular(initrd_place(sysroot.esp, name), limit=LIMIT)
    return b""


def initrd_for(etc: Node) -> bytes:
    """The machine's own initrd for the layout that ``etc`` names. Raises MissingProgram without
    ckbcomp, ProgramFailed for a layout that does not exist."""
    keyboard = read_keyboard(etc)
    return b"" if keyboard is None else make_machine_initrd(make_keymap(keyboard))


def read_keyboard(etc: Node) -> KeyboardLayout | None:
    """None when ``etc`` names no layout."""
    node = node_at(etc, PLACE)
    if node is None or not is_file(node):
        return None
    return parse_keyboard(node.entry.read().decode(errors="replace"))


def check_can_open(image: BootableImage, luks: str | None, initrd: bytes = b"") -> None:
    """Raises Refused when ``image`` cannot open an encrypted state partition in early boot, or
    could not take the passphrase from this machine's keyboard.

    ``luks`` is the volume, None where nothing is encrypted; ``initrd`` the machine's own."""
    if luks is None:
        return
    tree = read_image_bytes(image.store, image.tree)
    title = f"{image.name} {image.version}"
    if parse_below(tree, CRYPTSETUP) is None:
        raise Refused(
            f"{title} cannot open an encrypted disk: it has no systemd-cryptsetup",
            hint="add the package systemd-cryptsetup to its recipe",
        )
    if initrd and parse_below(tree, LOADKEYS) is None:
        raise Refused(
            f"{title} cannot ask for the passphrase with this keyboard's layout: it has no"
            " loadkeys",
            hint="add the package kbd to its recipe",
        )
