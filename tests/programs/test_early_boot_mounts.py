"""Early boot with real mounts: what ``install`` has written, in a mount namespace, in a second."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.report import NullReporter
from atoll.image.bootable import objects_of, read_bootable
from atoll.image.tree_owned import format_tree_owned
from atoll.machine.boot.boot_entries import read_menu
from atoll.machine.boot.new_entry import StatePartition
from atoll.machine.deployment import Origin
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.object_transfer import choose_transfer
from atoll.machine.deployments.sysroot import LiveChanges, Sysroot, parse_booted, parse_live
from atoll.machine.install import plan_install
from atoll.store.layout import open_store
from tests.programs.early_boot import SHELLS, SYSTEM, read_early_boot, read_whole
from tests.programs.shell_functions import both_shells
from tests.unit.machine.small_image import FACTS, files_of, make_store

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_verified_trees = pytest.mark.skipif(
    "\terofs\n" not in Path("/proc/filesystems").read_text() or not shutil.which("fsverity"),
    reason="needs EROFS in the kernel, and fsverity",
)
pytestmark = [
    pytest.mark.root,
    both_shells,
    needs_verified_trees,
]

SOURCE = Path(__file__).parents[2] / "src"
ACCOUNTS = {
    "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
    "etc/group": b"root:x:0:\n",
    "etc/shadow": b"root:*:1::::::\n",
    "etc/motd": b"the image's\n",
}
MOUNT_POINTS = ("var", "home", "root", "srv", "mnt", "media", "opt", "usr/local", "sysroot", "proc")
SHOW = """
show() { printf '%s %s\\n' "$1" "$(findmnt -nr -o FSTYPE,VFS-OPTIONS --mountpoint "$root$1")"; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopMachine:
    """A machine whose state partition is a file system in a file, on the device ``loop``."""

    place: Path
    shell: str
    loop: str
    tree: str
    more: str = ""
    """More words of the kernel command line."""

    def boot(self, then: str = "") -> subprocess.CompletedProcess[str]:
        """Early boot from its begin to its end, then a text in the same mount namespace."""
        for name in ("run/atoll", "sysroot"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        for path in (self.place / "run/atoll").iterdir():
            if path.is_file():
                path.unlink()
        (self.place / "cmdline").write_text(
            f"composefs={self.tree} atoll.state={self.loop} atoll.deployment=1 {self.more}\n"
        )
        text = read_early_boot()
        text = text.replace("/usr/lib/atoll/print-to-consoles", "echo SCREEN:")
        return self._run(f"{text}\n{SHOW}\n{then}\n")

    def save_good_etc(self) -> str:
        """The program's text, to be run after early boot."""
        text = read_whole(SYSTEM / "atoll/save-good-etc")
        text = text.replace('"/etc/', f'"{self.place}/sysroot/etc/')
        return text.replace("/sysroot/atoll", f"{self.place}/sysroot/sysroot/atoll").replace(
            "rw /sysroot\n", f"rw {self.place}/sysroot/sysroot\n"
        )

    def _run(self, text: str) -> subprocess.CompletedProcess[str]:
        for before, after in (
            ("/proc/cmdline", f"{self.place}/cmdline"),
            ("/sys/firmware/efi", f"{self.place}/efi"),
            ("/run/atoll", f"{self.place}/run/atoll"),
            ("/run/motd.d", f"{self.place}/run/motd.d"),
            ("/run/issue.d", f"{self.place}/run/issue.d"),
            ("root=/sysroot", f"root={self.place}/sysroot"),
        ):
            text = text.replace(before, after)
        script = self.place / "script"
        script.write_text(text)
        return subprocess.run(
            ["unshare", "--mount", "--propagation", "private", *SHELLS[self.shell], script],
            text=True,
            capture_output=True,
            check=False,
            timeout=120,
        )


@contextmanager
def loop_device(image: Path) -> Iterator[str]:
    words = ["losetup", "--find", "--show", str(image)]
    name = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield name
    finally:
        subprocess.run(["losetup", "--detach", name], check=True)


@pytest.fixture
def machine(tmp_path: Path, shell: str) -> Iterator[LoopMachine]:
    files = files_of(FACTS) | ACCOUNTS
    files |= {f"{name}/.keep": b"" for name in MOUNT_POINTS}
    files["usr/lib/atoll/tree-owned"] = format_tree_owned(["/var/lib/dpkg"]).encode()
    files["usr/lib/atoll/var/lib/dpkg/status"] = b"Package: hello\n"
    files["usr/lib/opt/chrome/version"] = b"1\n"
    store, tree = make_store(tmp_path / "store", files)
    sysroot = Sysroot(root=tmp_path / "machine", esp=tmp_path / "machine/esp")
    sysroot.esp.mkdir(parents=True)
    plan = plan_install(
        read_bootable(store, tree),
        Origin(image="store:hello"),
        sysroot=sysroot,
        state=StatePartition(uuid="1-2", verity=False),
        contents=choose_transfer(open_store(sysroot.atoll, create=True), store),
        objects=tuple(objects_of(store, tree)),
    )
    apply_operations(plan, NullReporter())
    assert [each.deployment for each in read_menu(sysroot.entries, sysroot.entry_list).entries] == [
        1
    ]
    shutil.rmtree(sysroot.esp)
    image = tmp_path / "state.img"
    subprocess.run(["truncate", "-s", "64M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", sysroot.root, image], check=True)
    with loop_device(image) as loop:
        yield LoopMachine(place=tmp_path, shell=shell, loop=loop, tree=tree)


def answers(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_what_was_installed_is_mounted_as_the_design_says(machine: LoopMachine) -> None:
    done = machine.boot("""
        for path in '' /usr /etc /var /home /usr/local /opt/chrome /var/lib/dpkg /sysroot; do
            show "$path"
        done
        cat $root/usr/bin/small $root/var/lib/dpkg/status $root/opt/chrome/version
        echo mine > $root/etc/motd
        cat /run/atoll/tree-etc/motd $root/sysroot/atoll/deployments/1/etc/upper/motd
        for path in /usr/x /var/lib/dpkg/x /sysroot/x /x; do
            (: > $root$path) 2> /dev/null || echo refused
        done
        cmp $root/usr/bin/big /run/atoll/tree/usr/bin/big && ls -A $root/var
    """)
    assert answers(done) == [
        " overlay ro,relatime",
        "/usr overlay ro,relatime",
        "/etc overlay rw,relatime",
        "/var ext4 rw,noatime",
        "/home ext4 rw,noatime",
        "/usr/local ext4 rw,noatime",
        "/opt/chrome overlay ro,relatime",
        "/var/lib/dpkg overlay ro,relatime",
        "/sysroot ext4 ro,noatime",
        "smallPackage: hello",
        "1",
        "the image's",
        "mine",
        *["refused"] * 4,
        "home",
        "lib",
        "media",
        "mnt",
        "opt",
        "root",
        "srv",
        "usrlocal",
    ]
    assert parse_booted((machine.place / "run/atoll/booted").read_bytes()) == 1
    assert not (machine.place / "run/atoll/failed").exists()


def test_a_place_with_a_line_in_fstab_is_left_to_it(machine: LoopMachine) -> None:
    """systemd mounts nothing where something is mounted already."""
    first = machine.boot(
        "echo '# /srv is not here' > $root/etc/fstab; "
        "echo 'UUID=1-2 /home ext4 nofail 0 2' >> $root/etc/fstab"
    )
    assert first.returncode == 0, first.stderr
    assert answers(machine.boot("show /home; show /srv")) == ["/home ", "/srv ext4 rw,noatime"]


TAKE_OVER = """
mount -o remount,bind,rw $root/sysroot
PYTHONPATH=SOURCE PYTHON - "$root/sysroot" <<'END'
import sys
from pathlib import Path
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.own_var import plan_take_over
from atoll.machine.deployments.sysroot import Sysroot
root = Path(sys.argv[1])
apply_operations(plan_take_over(Sysroot(root=root, esp=root / "esp"), 1))
END
"""


@pytest.mark.parametrize("keep_home", [False, True])
def test_after_a_reset_a_deployment_has_its_own_var_until_it_takes_over(
    machine: LoopMachine, keep_home: bool
) -> None:
    """With the mounts of a running system: what is mounted stays where it is when names change."""
    old = machine.boot("""
        mkdir $root/home/ada; echo letter > $root/home/ada/letter; echo old > $root/var/x
        echo notes > $root/root/notes
    """)
    assert old.returncode == 0, old.stderr
    mounted = machine.place / "device"
    mounted.mkdir()
    own = f"{mounted}/atoll/deployments/1/var"
    kept = f"mkdir {own}/home {own}/root; : > {own}/home/.atoll-fresh; : > {own}/root/.atoll-fresh"
    stage = f"mount {machine.loop} {mounted}; mkdir {own}; echo new > {own}/y; "
    stage += f"{kept}; : > {own}/../keep-home" if keep_home else f"mkdir {own}/home"
    assert machine._run(stage).returncode == 0
    show = """
        cat $root/home/ada/letter $root/root/notes 2> /dev/null
        ls $root/var/x $root/var/y 2> /dev/null | sed "s,$root,,"; show /var; show /home
    """
    mine = ["letter", "notes"] if keep_home else []
    mounts = ["/var ext4 rw,noatime", "/home ext4 rw,noatime"]
    assert answers(machine.boot(show)) == [*mine, "/var/y", *mounts]
    take_over = TAKE_OVER.replace("SOURCE", str(SOURCE)).replace("PYTHON -", f"{sys.executable} -")
    running = machine.boot(
        f"{take_over}{show}echo later > $root/home/later; ls $root/sysroot/atoll"
    )
    assert running.returncode == 0, running.stderr
    assert running.stdout.splitlines()[: len(mine) + 3] == [*mine, "/var/y", *mounts]
    assert "removed-var" not in running.stdout
    again = answers(
        machine.boot(f"{show}cat $root/home/later; ls $root/sysroot/atoll/deployments/1")
    )
    assert again[: len(mine) + 4] == [*mine, "/var/y", *mounts, "later"]
    assert not {"var", "keep-home"} & set(again)


def test_home_directories_of_an_older_system_are_mounted(machine: LoopMachine) -> None:
    """On the same file system; where they cannot be found, the system starts with its own."""
    mounted = machine.place / "older"
    mounted.mkdir()
    write = "mount {0} {1}; mkdir -p {1}/@rootfs/home/ada; printf '%s' '{2}' > {1}/atoll/state/home"
    place = (machine.loop, mounted)
    assert machine._run(write.format(*place, "@rootfs/home\n")).returncode == 0
    show = (
        "ls $root/home; show /home; : > $root/home/ada/written; ls $root/sysroot/@rootfs/home/ada"
    )
    assert answers(machine.boot(show)) == ["ada", "/home ext4 rw,noatime", "written"]
    for text in ("gone", "@rootfs/home", "../x\n", "/@rootfs/home\n", "@rootfs/./home\n", ""):
        assert machine._run(write.format(*place, text)).returncode == 0
        assert answers(machine.boot("ls $root/home; show /home")) == ["/home ext4 rw,noatime"]
        notes = (machine.place / "run/atoll/notes").read_text()
        assert notes.startswith("the home directories of the older system cannot be found")


def test_an_etc_that_was_wiped_is_what_the_last_good_boot_saved(machine: LoopMachine) -> None:
    """With the whiteouts that a real overlay leaves of files that the tree has."""
    first = machine.boot("echo mine > $root/etc/hostname\n" + machine.save_good_etc())
    assert first.returncode == 0, first.stderr
    wipe = machine.boot("cat $root/etc/hostname; rm -rf $root/etc/*; ls -A $root/etc")
    assert answers(wipe) == ["mine"]
    show = "cat $root/etc/hostname $root/etc/motd; ls $root/sysroot/atoll/deployments/1/etc"
    assert answers(machine.boot(show)) == ["mine", "the image's", "broken-1", "upper", "work"]
    notes = (machine.place / "run/atoll/notes").read_text()
    assert notes.splitlines() == [
        "/etc has no users left: it is kept as etc/broken-1 of deployment 1",
        "/etc is as it was at the last good boot",
    ]


def test_a_damaged_image_is_never_mounted(machine: LoopMachine) -> None:
    mounted = machine.place / "broken"
    mounted.mkdir()
    flip = f"""
        mount {machine.loop} {mounted}
        image={mounted}/atoll/images/{machine.tree}
        printf X | dd of=$image bs=1 seek=3000 conv=notrunc status=none
    """
    assert machine._run(flip).returncode == 0
    done = machine.boot()
    assert done.returncode == 1
    why = (machine.place / "run/atoll/failed").read_text()
    assert why.startswith(f"the image of tree {machine.tree} has digest ")
    assert f"SCREEN: {why}" in done.stdout
    assert not (machine.place / "run/atoll/booted").exists()


WRITE_EVERYWHERE = """
    for path in /etc/x /var/x /home/x /opt/x; do echo mine > $root$path; done
    (: > $root/sysroot/x) 2> /dev/null || echo refused
    mount -o remount,bind,rw $root/sysroot && echo mine > $root/sysroot/atoll/state/x
    (: > $root/sysroot/atoll/objects/x) 2> /dev/null || echo refused
    (: > $root/sysroot/atoll/images/x) 2> /dev/null || echo refused
"""


def read_device(path: str) -> bytes:
    """Past the page cache, which has what a mounted file system means to write."""
    subprocess.run(["sync"], check=True)
    return Path(path).read_bytes()


def test_a_live_system_writes_to_memory_and_never_to_its_stick(machine: LoopMachine) -> None:
    before = read_device(machine.loop)
    live = replace(machine, more="atoll.live=1")
    done = live.boot(
        """
        for path in '' /usr /etc /var /home /usr/local /var/lib/dpkg /sysroot; do show "$path"; done
        cat $root/usr/bin/small $root/var/lib/dpkg/status
        """
        + WRITE_EVERYWHERE
        + """
        cmp $root/usr/bin/big /run/atoll/tree/usr/bin/big
        ls $root/sysroot/atoll/images
        findmnt -nr -o TARGET | grep -c /run/atoll/st || true
        """
    )
    assert answers(done) == [
        " overlay ro,relatime",
        "/usr overlay ro,relatime",
        "/etc overlay rw,relatime",
        "/var tmpfs rw,relatime",
        "/home tmpfs rw,relatime",
        "/usr/local tmpfs rw,relatime",
        "/var/lib/dpkg overlay ro,relatime",
        "/sysroot tmpfs ro,relatime",
        "smallPackage: hello",
        *["refused"] * 3,
        machine.tree,
        "0",
    ]
    assert parse_live((machine.place / "run/atoll/live").read_bytes()) is LiveChanges.MEMORY
    motd = (machine.place / "run/motd.d/60-atoll-live").read_text()
    assert "lost at shutdown" in motd and "atoll install" in motd
    assert read_device(machine.loop) == before
    # An installed system of the same state partition is not a live one.
    (machine.place / "run/atoll/live").unlink()
    assert machine.boot().returncode == 0
    assert not (machine.place / "run/atoll/live").exists()


def test_what_a_live_system_changes_survives_on_a_persistence_partition(
    machine: LoopMachine,
) -> None:
    before = read_device(machine.loop)
    image = machine.place / "changes.img"
    subprocess.run(["truncate", "-s", "64M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    with loop_device(image) as changes:
        live = replace(machine, more=f"atoll.live=1 atoll.persistence={changes}")
        checked, *rest = answers(live.boot(WRITE_EVERYWHERE))
        assert checked.startswith(f"{changes}: ")
        assert rest == ["refused"] * 3
        show = "cat $root/etc/x $root/var/x $root/home/x; show /var; show /sysroot"
        assert answers(live.boot(show))[1:] == [
            *["mine"] * 3,
            "/var ext4 rw,noatime",
            "/sysroot ext4 ro,noatime",
        ]
        where = (machine.place / "run/atoll/live").read_bytes()
        assert parse_live(where) is LiveChanges.PERSISTENCE
        # Full, it is used as before: only what is written now fails.
        full = "cat /dev/zero > $root/var/full 2> /dev/null || sync; cat $root/var/x"
        assert answers(live.boot(full))[1:] == ["mine"]
        assert answers(live.boot("cat $root/etc/x; echo x > $root/var/y || true"))[1:] == ["mine"]
        assert (
            parse_live((machine.place / "run/atoll/live").read_bytes()) is LiveChanges.PERSISTENCE
        )
    assert read_device(machine.loop) == before


@pytest.mark.parametrize("flaw", ["full", "emptied", "overwritten"])
def test_a_persistence_partition_that_is_no_use_is_left_for_memory(
    machine: LoopMachine, flaw: str
) -> None:
    """Full before its first use; emptied by hand on another computer; overwritten in places."""
    before = read_device(machine.loop)
    image = machine.place / "changes.img"
    subprocess.run(["truncate", "-s", "16M", image], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", image], check=True)
    with loop_device(image) as changes:
        live = replace(machine, more=f"atoll.live=1 atoll.persistence={changes}")
        words = f"mount {changes} /mnt; {{}}; umount /mnt"
        if flaw == "full":
            # Small files fit in what a large one leaves, until directories have taken that too.
            fill = "cat /dev/zero > /mnt/full; while mkdir /mnt/$((n += 1)); do :; done"
            spoil = words.format(f"({fill}) 2> /dev/null")
        else:
            assert live.boot().returncode == 0
            spoil = words.format("rm -r /mnt/atoll/deployments")
        if flaw == "overwritten":
            spoil = f"dd if=/dev/urandom of={changes} bs=1k count=600 conv=notrunc status=none"
        subprocess.run(["unshare", "--mount", "sh", "-c", spoil], check=True)
        shown = answers(live.boot("cat $root/usr/bin/small; show /var; echo x > $root/var/x"))
        assert shown[-1] == "small/var tmpfs rw,relatime"
        assert parse_live((machine.place / "run/atoll/live").read_bytes()) is LiveChanges.MEMORY
        assert "lost at shutdown" in (machine.place / "run/atoll/notes").read_text()
    assert read_device(machine.loop) == before
