"""``atoll drift``: what differs on a machine from its image, and nothing else."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.machine.boot.boot_entries import MenuEntry
from atoll.machine.boot.boot_entry import BootEntry, EntryName
from atoll.machine.boot.mounts import parse_mounts
from atoll.machine.boot.new_entry import StatePartition, boot_options
from atoll.machine.deployment import Deployment
from atoll.machine.drift.damaged_files import find_damaged
from atoll.machine.drift.etc_drift import EtcPair, find_etc_differences
from atoll.machine.drift.kernel_drift import find_boot_drift, find_entry_drift
from atoll.machine.drift.local_files import find_local_drift
from atoll.machine.drift.read_drift import find_scratch
from atoll.machine.etc.read import read_directory
from tests.machines import Maker, write
from tests.unit.machine.etc_trees import Dir, File, Link, etc

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot
    from atoll.machine.drift.etc_drift import EtcDifferences
    from atoll.machine.drift.model import Unread
    from tests.unit.machine.etc_trees import What

UNITS = "/usr/lib/systemd/system"
PASSWD = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada:/home/ada:/bin/bash\n"
GROUP = "root:x:0:\nsudo:x:27:\nada:x:1000:\n"
SHADOW = "root:*:1:0:99999:7:::\nada:!:1:0:99999:7:::\n"
ACCOUNTS: dict[str, What] = {"passwd": PASSWD, "group": GROUP, "shadow": SHADOW}


def differences(before: dict[str, What], after: dict[str, What]) -> EtcDifferences:
    return find_etc_differences(EtcPair(tree=etc(before), live=etc(after)))


def files(before: dict[str, What], after: dict[str, What]) -> list[str]:
    return [f"{each.change} {each.path}" for each in differences(before, after).files]


def units(before: dict[str, What], after: dict[str, What]) -> list[str]:
    found = differences(before, after)
    assert found.files == ()
    return [f"{each.change} {each.manager} {each.unit}" for each in found.units]


def accounts(changed: dict[str, What]) -> list[str]:
    found = differences(ACCOUNTS, {**ACCOUNTS, **changed})
    assert found.files == ()
    return [
        f"{each.change} {each.kind} {each.name}: "
        + ", ".join(f"{one.field} {one.before}>{one.after}" for one in each.fields)
        for each in found.accounts
    ]


def test_files_that_a_person_changed_are_drift() -> None:
    before: dict[str, What] = {"motd": "1", "gone": "1", "mode": "1", "kind": "1", "same": "1"}
    after: dict[str, What] = {
        "motd": "2",
        "mode": File("1", mode=0o600),
        "kind": Link("same"),
        "same": "1",
        "new.d/x": "1",
        "empty.d": Dir(),
        "odd.d": Dir(mode=0o700),
        "odd.d/x": "1",
    }
    assert files(before, after) == [
        "added empty.d",
        "removed gone",
        "another kind kind",
        "attributes mode",
        "changed motd",
        "added new.d/x",
        "added odd.d",
        "added odd.d/x",
    ]


def test_what_each_machine_makes_for_itself_and_the_machine_file_are_no_drift() -> None:
    before: dict[str, What] = {"machine-id": "uninitialized\n", "ld.so.cache": "1"}
    after: dict[str, What] = {
        "machine-id": "1" * 32,
        "ld.so.cache": "2",
        "ssh/ssh_host_ed25519_key": "key",
        "passwd-": "old",
        "resolv.conf": "nameserver",
        "atoll/machine.toml": "schema = 1\n",
    }
    assert files(before, after) == []


def test_units_are_drift_by_their_links() -> None:
    wants = "systemd/system/multi-user.target.wants"
    before: dict[str, What] = {
        f"{wants}/off.service": Link(f"{UNITS}/off.service"),
        f"{wants}/same.service": Link("/lib/systemd/system/same.service"),
        "systemd/system/was.service": Link("/dev/null"),
        "systemd/system/display-manager.service": Link(f"{UNITS}/gdm.service"),
    }
    after: dict[str, What] = {
        f"{wants}/on@1.service": Link(f"{UNITS}/on@.service"),
        f"{wants}/same.service": Link(f"{UNITS}/same.service"),
        "systemd/system/stop.timer": Link("/dev/null"),
        "systemd/system/display-manager.service": Link(f"{UNITS}/sddm.service"),
        "systemd/user/default.target.wants/agent.service": Link("../../../x/agent.service"),
    }
    assert units(before, after) == [
        "disabled system gdm.service",
        "disabled system off.service",
        "enabled system on@1.service",
        "enabled system sddm.service",
        "masked system stop.timer",
        "unmasked system was.service",
        "enabled user agent.service",
    ]


def test_a_unit_that_others_start_now_has_other_links() -> None:
    one = "systemd/system/a.target.wants/x.service"
    other = "systemd/system/b.target.requires/x.service"
    target = Link(f"{UNITS}/x.service")
    (found,) = differences({one: target}, {other: target}).units
    assert (found.change, found.added, found.removed) == ("other links", (other,), (one,))


def test_links_of_init_scripts_count_only_where_there_is_no_unit() -> None:
    wants = "systemd/system/multi-user.target.wants/ssh.service"
    stays: dict[str, What] = {f"{name}/README": "" for name in ("rc0.d", "rc3.d", "systemd/system")}
    before: dict[str, What] = {
        wants: Link(f"{UNITS}/ssh.service"),
        "rc2.d/S01ssh": Link("../init.d/ssh"),
        "rc2.d/S01old": Link("../init.d/old"),
        "rc0.d/K01old": Link("../init.d/old"),
        **stays,
    }
    after: dict[str, What] = {
        **stays,
        "rc2.d/K01ssh": Link("../init.d/ssh"),
        "rc2.d/K01old": Link("../init.d/old"),
        "rc3.d/S02new": Link("../init.d/new"),
    }
    assert units(before, after) == [
        "enabled system new.service",
        "disabled system old.service",
        "disabled system ssh.service",
    ]


def test_unit_files_and_links_to_units_elsewhere_are_files() -> None:
    after: dict[str, What] = {
        "systemd/system/own.service": "[Service]\n",
        "systemd/system/far.service": Link("/opt/far/far.service"),
        "systemd/system/x.service.d/50.conf": "[Service]\n",
    }
    assert files({"motd": ""}, {"motd": "", **after}) == [f"added {path}" for path in sorted(after)]


def test_accounts_are_compared_row_by_row() -> None:
    lines = "bob:x:1001:1001::/home/bob:/bin/zsh\n"
    assert accounts({"passwd": PASSWD + lines, "group": "bob:x:1001:\n" + GROUP}) == [
        "added user bob: uid >1001, gid >1001, home >/home/bob, shell >/bin/zsh"
    ]
    assert accounts({"passwd": "\n".join(reversed(PASSWD.split("\n")))}) == []
    assert accounts({"passwd": PASSWD.replace("Ada", "Ada L"), "group": GROUP + "x:x:5:\n"}) == [
        "changed user ada: comment Ada>Ada L",
        "added group x: gid >5",
    ]
    assert accounts({"group": GROUP.replace("27:", "27:ada,stranger")}) == [
        "changed user ada: groups >sudo",
        "changed group sudo: members >stranger",
    ]
    assert accounts({"passwd": PASSWD.split("ada")[0]}) == ["removed user ada: "]


def test_a_password_is_drift_but_never_shown() -> None:
    found = accounts({"shadow": SHADOW.replace("ada:!", "ada:$y$secret")})
    assert found == ["changed user ada: password >"]
    assert accounts({"shadow": SHADOW.replace("!:1:", "!:9:")}) == []
    assert accounts({"shadow": SHADOW.replace("ada:!:1:0:99999:7:::", "ada:!:1:0:30:7::9:")}) == [
        "changed user ada: expiry 0:99999:7::>0:30:7::9"
    ]


def test_lines_of_account_files_that_are_no_rows_are_changes_of_the_file() -> None:
    changed: dict[str, What] = {**ACCOUNTS, "passwd": f"{PASSWD}+::::::\n"}
    assert files(ACCOUNTS, changed) == ["changed passwd"]
    assert files(ACCOUNTS, {**ACCOUNTS, "shadow": File(SHADOW, mode=0o640)}) == [
        "attributes shadow"
    ]


DEPLOYMENT = Deployment(
    number=4, tree=TreeId("1" * 64), name="hello", version="1", kernel="6", pair="2" * 64
)
STATE = StatePartition(uuid="u-1", verity=True, luks="l-1")


def entry_with(options: tuple[str, ...]) -> MenuEntry:
    name = EntryName(sequence=7)
    entry = BootEntry(name=name, title="t", linux="/l", initrd="/i", options=options)
    return MenuEntry(name=name, deployment=4, entry=entry)


def test_kernel_arguments_are_compared_with_those_of_the_image() -> None:
    arguments = ("quiet", "console=tty0")
    made = boot_options(DEPLOYMENT, STATE, arguments)
    assert find_entry_drift(entry_with(made), DEPLOYMENT, arguments) is None
    edited = tuple("panic=0" if word == "panic=10" else word for word in made if word != "quiet")
    found = find_entry_drift(entry_with((*edited, "nomodeset")), DEPLOYMENT, arguments)
    assert found is not None and found.where == "atoll-7.conf"
    assert (found.added, found.removed) == (("panic=0", "nomodeset"), ("panic=10", "quiet"))
    turned = find_entry_drift(entry_with(made), DEPLOYMENT, arguments[::-1])
    assert turned is not None and turned.reordered and turned.added == ()


def test_an_argument_of_one_boot_is_found_and_those_of_loaders_are_not() -> None:
    line = " ".join(boot_options(DEPLOYMENT, STATE, ("quiet",)))
    assert find_boot_drift(f"initrd=\\x {line}", ("quiet",)) is None
    found = find_boot_drift(f"{line} single", ("quiet",))
    assert found is not None and found.added == ("single",)


def test_content_of_usr_local_and_opt_is_listed_by_what_it_belongs_to(tmp_path: Path) -> None:
    write(tmp_path, {"local/bin/tool": "12345", "local/share/app/a": "1", "local/share/app/b": "2"})
    write(tmp_path, {"opt/vendor/bin/x": "123", "opt/shipped/x": "1"})
    (tmp_path / "opt/empty").mkdir()
    (tmp_path / "local/man").symlink_to("share/man")
    (tmp_path / "local/bin/apt-mark").symlink_to("/usr/lib/atoll/instead")
    (tmp_path / "local/bin/vendor").symlink_to("/usr/lib/captured/vendor/bin/vendor")
    unread: list[Unread] = []
    local = find_local_drift(tmp_path / "local", "/usr/local", {"man"}, unread)
    opt = find_local_drift(tmp_path / "opt", "/opt", {"shipped"}, unread)
    assert [(each.path, each.files, each.size) for each in (*local, *opt)] == [
        ("/usr/local/bin/tool", 1, 5),
        ("/usr/local/share/app", 2, 2),
        ("/opt/vendor", 1, 3),
    ]
    assert unread == []


def test_a_writable_overlay_on_usr_is_found() -> None:
    bind = "30 1 0:29 /usr /usr ro - overlay atoll ro,lowerdir=/a,verity=require"
    scratch = "31 30 0:50 / /usr rw - overlay scratch rw,lowerdir=/usr,upperdir=/run/s/u,workdir=/w"
    assert find_scratch(parse_mounts(bind)) == ""
    assert find_scratch(parse_mounts(f"{bind}\n{scratch}")) == "/run/s/u"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_listed_and_never_absent(tmp_path: Path) -> None:
    for name in ("tree", "live"):
        write(tmp_path / name, {"shadow": "root:*:1\n", "private/key": "1", "motd": name})
        (tmp_path / name / "shadow").chmod(0)
        (tmp_path / name / "private").chmod(0)
    read = [read_directory(tmp_path / name, tolerant=True) for name in ("tree", "live")]
    for name in ("tree", "live"):
        (tmp_path / name / "private").chmod(0o700)
    assert [each.unread for each in read] == [("private", "shadow")] * 2
    pair = EtcPair(tree=read[0].root, live=read[1].root, unread=read[0].unread)
    found = find_etc_differences(pair)
    assert [each.path for each in found.files] == ["motd"]
    assert (found.accounts, found.unread) == ((), ("private", "shadow"))


@pytest.fixture
def machine(tmp_path: Path) -> Sysroot:
    maker = Maker(tmp_path / "maker")
    shipped = {
        "usr/lib/opt/shipped/x": "1",
        "usr/lib/atoll/factory/var/usrlocal/share/made": "1",
        "usr/lib/atoll/var/lib/dpkg/info/base.list": "/.\n/etc\n/etc/motd\n/usr/lib/big\n",
    }
    # A directory of the image in which the machine has its own files.
    (tmp_path / "maker/root-hello-1/usr/lib/atoll/factory/var/usrlocal/bin").mkdir(parents=True)
    return maker.install(tmp_path / "machine", maker.publish("1", shipped))


def test_a_new_machine_has_no_drift(machine: Sysroot, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "--root", str(machine.root)]) == 77
    assert capsys.readouterr().out == "nothing differs from hello 1 (1)\n"


def test_the_verb_shows_each_kind_of_drift(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    upper = machine.deployments / "1/etc/upper"
    long = f"long/{'x' * 60}"
    write(upper, {"motd": "mine\n", long: "1\n"})
    (upper / "systemd/system").mkdir(parents=True)
    (upper / "systemd/system/apt.timer").symlink_to("/dev/null")
    write(machine.atoll / "var", {"opt/vendor/x": "123", "usrlocal/bin/tool": "1"})
    entry = machine.entries / "atoll-1.conf"
    entry.write_text(entry.read_text().replace("quiet", "nomodeset"))
    assert main(["drift", "--root", str(machine.root)]) == 0
    out = capsys.readouterr().out
    assert out == (
        "What differs from hello 1 (1)\n"
        "\n"
        "files in /etc\n"
        f"  added       /etc/{long}\n"
        f"{'  changed     /etc/motd':<76}base\n"
        "\n"
        "units\n"
        "  masked      apt.timer\n"
        "\n"
        "in /usr/local and /opt\n"
        f"{'  added       /usr/local/bin/tool':<69}1 file, 1 B\n"
        f"{'  added       /opt/vendor':<69}1 file, 3 B\n"
        "\n"
        "kernel arguments, atoll-1.conf\n"
        "  added       nomodeset\n"
        "  removed     quiet\n"
    )
    assert main(["drift", "--json", "--root", str(machine.root)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["etc"][1] == {"path": "/etc/motd", "change": "changed", "package": "base"}
    assert found["kernel"][0]["added"] == ["nomodeset"]
    assert (found["damaged"], found["scratch"], found["not_compared"]) == (None, None, [])


def test_files_of_the_image_are_verified_on_demand(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_damaged(machine, 1, NullReporter()) == ()
    large = max((machine.atoll / "objects").rglob("*"), key=lambda path: path.stat().st_size)
    large.chmod(0o644)
    large.write_bytes(b"x" + large.read_bytes()[1:])
    assert main(["drift", "--verify", "--json", "--root", str(machine.root)]) == 8
    assert json.loads(capsys.readouterr().out)["damaged"] == [
        {"path": "/usr/lib/big", "why": "damaged object"}
    ]


def test_without_a_boot_entry_the_arguments_are_not_compared(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine.entries / "atoll-1.conf").unlink()
    assert main(["drift", "--deployment", "1", "--root", str(machine.root)]) == 16
    captured = capsys.readouterr()
    assert "the boot entry of deployment 1" in captured.out
    assert "not everything could be read" in captured.err
