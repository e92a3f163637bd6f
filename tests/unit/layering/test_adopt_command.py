"""``drift --adopt`` on a machine in a directory."""

from __future__ import annotations

import json
import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Busy
from atoll.cli.main import main
from atoll.layering.adopt import MachineView, plan_adoption
from atoll.layering.adopt_command import find_explained, read_view, write_adoption
from atoll.machine.drift.etc_drift import EtcPair, find_etc_differences
from atoll.machine.drift.model import Drift
from atoll.machine.drift.tree_files import MountedTree
from atoll.machine.etc.read import read_directory
from tests.machines import PASSWD, Maker, write

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

HASH = "$y$j9T$abcdefghijklmnopqrstu$vwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"
ADA = "ada:x:1000:1000:Ada:/home/ada:/bin/bash\n"
MINE = {
    "motd": "mine\n",
    "vpn.key": "geheim\n",
    "passwd": PASSWD + ADA,
    "group": "root:x:0:\nada:x:1000:\n",
    "shadow": f"root:*:1::::::\nada:{HASH}:1:0:99999:7:::\n",
}


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "maker")


@pytest.fixture
def machine(tmp_path: Path, maker: Maker) -> Sysroot:
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    upper = machine.deployments / "1/etc/upper"
    write(upper, MINE)
    (upper / "vpn.key").chmod(0o600)
    (upper / "systemd/system").mkdir(parents=True)
    (upper / "systemd/system/apt.timer").symlink_to("/dev/null")
    return machine


def run(machine: Sysroot, *words: str) -> int:
    return main(["drift", *words, "--root", str(machine.root)])


@pytest.mark.root
def test_what_is_adopted_is_shown_and_written_after_a_yes(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    written = machine.deployments / "1/etc/upper/atoll/machine.toml"
    assert run(machine, "--adopt") == 11
    shown = capsys.readouterr().out
    assert '+[[file]]\n+path = "/etc/motd"\n+text = "mine\\n"\n' in shown
    assert "  /etc/vpn.key: only root, or not everyone, may read it\n" in shown
    assert "    secret; to take it all the same: --adopt password:ada\n" in shown
    assert "geheim" not in shown and HASH not in shown
    assert not written.exists()
    assert run(machine, "--adopt", "--yes") == 0
    text = written.read_text()
    assert text.startswith("# What this machine has beyond its image.")
    assert 'mask = ["apt.timer"]' in text
    capsys.readouterr()
    assert run(machine, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    # Its password is a secret that was not named, and is still the machine's own.
    assert found["in_machine_file"] == ["/etc/motd", "apt.timer", "user:ada"]
    assert stat.S_IMODE(written.stat().st_mode) == 0o644
    assert run(machine, "--adopt", "password:ada", "--yes") == 0
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    capsys.readouterr()
    assert run(machine, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "password:ada" in found["in_machine_file"]


@pytest.mark.root
def test_a_secret_that_is_named_is_kept_where_only_root_reads_it(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(machine, "--adopt", "/etc/vpn.key", "--yes", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["adopted"]) == (["/etc/atoll/files/vpn.key"], ["/etc/vpn.key"])
    copy = machine.deployments / "1/etc/upper/atoll/files/vpn.key"
    assert copy.read_text() == "geheim\n"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


@pytest.mark.root
def test_an_image_with_what_was_adopted_changes_nothing(
    machine: Sysroot, maker: Maker, capsys: pytest.CaptureFixture[str]
) -> None:
    """The next image has what the adopted recipe says. The account is there without its password,
    as a build of that recipe makes it, and the machine's own stays without a conflict."""
    upper = machine.deployments / "1/etc/upper"
    (upper / "vpn.key").unlink()
    assert run(machine, "--adopt", "--yes") == 0
    built = {
        "etc/motd": "mine\n",
        "etc/passwd": MINE["passwd"],
        "etc/group": MINE["group"],
        "etc/shadow": "root:*:1::::::\nada:!:2:0:99999:7:::\n",
    }
    units = maker.folder / "root-hello-2/etc/systemd/system"
    units.mkdir(parents=True)
    (units / "apt.timer").symlink_to("/dev/null")
    maker.publish("2", built)
    # Without the file, so that the image is taken as it is.
    shutil.rmtree(upper / "atoll")
    assert main(["upgrade", "--root", str(machine.root)]) == 0
    capsys.readouterr()
    assert run(machine, "--deployment", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["etc"] == found["units"] == []
    assert [
        (each["name"], [one["field"] for one in each["fields"]]) for each in found["accounts"]
    ] == [("ada", ["password"])]
    assert main(["etc", "--deployment", "2", "--json", "--root", str(machine.root)]) == 0
    assert json.loads(capsys.readouterr().out)["conflicts"] == []


@pytest.mark.root
def test_a_machine_file_that_changed_meanwhile_is_not_overwritten(machine: Sysroot) -> None:
    view = read_view(machine, 1)
    adoption = plan_adoption(view, ["/etc/motd"])
    write(machine.deployments / "1/etc/upper", {"atoll/machine.toml": "schema = 1\n"})
    with pytest.raises(Busy, match="changed meanwhile"):
        write_adoption(machine, 1, view, adoption)
    assert run(machine, "--adopt", "/etc/motd", "--verify") == 2
    assert run(machine, "--adopt", "/etc/nothing") == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_user_who_may_not_read_accounts_sees_what_the_file_explains(tmp_path: Path) -> None:
    me = f"me:x:{os.getuid()}:{os.getgid()}::/:/bin/sh\n"
    group = f"me:x:{os.getgid()}:\n"
    text = 'schema = 1\n[[user]]\nname = "ada"\nuid = 1000\n[[file]]\npath = "/etc/motd"\n'
    text += 'text = "mine\\n"\nowner = "me"\ngroup = "me"\n'
    tree_files = {"motd": "1\n", "passwd": PASSWD + me, "group": group, "shadow": ""}
    write(tmp_path / "tree", tree_files)
    write(tmp_path / "live", {**tree_files, "motd": "mine\n", "passwd": PASSWD + me + ADA})
    for name in ("tree", "live"):
        (tmp_path / name / "shadow").chmod(0)
    tree, found = (read_directory(tmp_path / name, tolerant=True) for name in ("tree", "live"))
    pair = EtcPair(tree=tree.root, live=found.root, unread=found.unread)
    differences = find_etc_differences(pair)
    drift = Drift(number=1, etc=differences.files, accounts=differences.accounts)
    view = MachineView(drift=drift, pair=pair, tree=MountedTree(tmp_path), text=text)
    assert "/etc/motd" in find_explained(view)
