"""``atoll report``: it says what is needed, and nothing that identifies a person or a machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NotFound, UsageError
from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.cli.main import main
from atoll.cli.reported_image import find_reported
from atoll.machine.health.boot_attempts import BootAttempt, BootVerdict
from atoll.machine.health.pstore import read_last_panic
from atoll.machine.health.report import HealthReport
from atoll.machine.report.failed_boot import find_failed_boot, read_boot_messages
from atoll.machine.report.machine_file_text import LEFT_OUT, show_machine_file
from atoll.machine.report.model import FailedBoot
from atoll.machine.report.parse_report import ReportedImage, parse_report
from atoll.machine.report.redact import KnownNames, find_people, redact
from tests.machines import Maker, write

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.machine.deployments.sysroot import Sysroot

KNOWN = KnownNames(
    hosts=("reef", "reef.example.org", "localhost"), people=(("ada", "Ada Lovelace"),)
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("reef kernel: up", "HOST kernel: up"),
        ("ssh reef.example.org", "ssh HOST"),
        ("localhost reefs on-reef", "localhost reefs on-reef"),
        ("added user ada, Ada Lovelace", "added user USER1, USER1"),
        ("/home/bob/.x", "/home/USER/.x"),
        ("10.0.0.17:22 and 127.0.0.1", "ADDRESS:22 and 127.0.0.1"),
        ("from fe80::1ff:fe23:4567:890a on", "from ADDRESS on"),
        ("at 12:34:56 pci 0000:00:1f.2", "at 12:34:56 pci 0000:00:1f.2"),
        ("eth0: 52:54:00:ab:cd:ef up", "eth0: MAC up"),
        ("usb 1-1: SerialNumber: 4C5300012", "usb 1-1: SerialNumber: SERIAL"),
        ("root=UUID=0f0f0f0f-1111-2222-3333-444444444444", "root=UUID=UUID"),
        ("/dev/disk/by-id/ata-X_SERIAL1 x", "/dev/disk/by-id/NAME x"),
        ("nvme0: eui.0025388b91b2a3c4", "nvme0: SERIAL"),
        ("machine " + "0af" * 10 + "12", "machine ID"),
        ("tree " + "ab" * 32, "tree " + "ab" * 32),
        ("key AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0", "key KEY"),
        (
            "/etc/NetworkManager/system-connections/My Wi-Fi.nmconnection",
            "/etc/NetworkManager/system-connections/NAME",
        ),
        ("Linux 6.12.48+deb13-amd64", "Linux 6.12.48+deb13-amd64"),
    ],
)
def test_what_identifies_somebody_is_taken_out(text: str, shown: str) -> None:
    assert redact(text, KNOWN) == shown


def test_people_are_the_accounts_of_people() -> None:
    passwd = {"root": (0, ""), "ada": (1000, "Ada Lovelace,,,"), "nobody": (65534, "nobody")}
    assert find_people(passwd) == (("ada", "Ada Lovelace"),)


def test_the_machine_file_is_shown_without_what_may_be_secret() -> None:
    shown = show_machine_file(
        'schema = 1\n[packages]\ninstall = ["htop"]\ndebconf = ["x x/password string geheim"]\n'
        '[units]\nmask = ["a.timer"]\n[units.dropin]\n"a.service" = "Environment=K=geheim"\n'
        '[[file]]\npath = "/etc/x"\ntext = "geheim"\n[[user]]\nname = "ada"\npassword = "geheim"\n'
        '[[repository]]\nname = "vpn"\nuris = ["https://u:geheim@x/"]\n[other]\nkey = "geheim"\n'
    )
    assert "geheim" not in json.dumps(shown)
    assert isinstance(shown, dict)
    assert shown["packages"] == {"install": ["htop"], "debconf": LEFT_OUT}
    assert shown["file"] == [{"path": "/etc/x", "text": LEFT_OUT}]
    assert shown["user"] == [{"name": "ada", "password": LEFT_OUT}]
    assert show_machine_file("geheim [") == LEFT_OUT


def health(
    attempts: tuple[tuple[int, tuple[BootAttempt, ...]], ...],
    verdicts: tuple[tuple[int, BootVerdict], ...] = (),
) -> HealthReport:
    return HealthReport(
        booted=1, health=None, watchdog=None, attempts=attempts, verdicts=verdicts, held=()
    )


def test_the_last_boot_with_a_reason_is_the_one_that_is_reported() -> None:
    first = BootAttempt(number=1, started=100, failure="no disk")
    second = BootAttempt(number=2, started=200, failure="no display")
    third = BootAttempt(number=3, started=300)
    found = find_failed_boot(health(((7, (first, second, third)),)))
    assert found == FailedBoot(deployment=7, number=2, started=200, why="no display")
    verdict = BootVerdict(entry=9, evidence=True, why="its kernel panicked: x")
    found = find_failed_boot(health(((7, (third,)),), ((7, verdict),)))
    assert found == FailedBoot(deployment=7, number=3, started=300, why=verdict.why)
    assert find_failed_boot(health(((7, (third,)),))) is None


def test_the_last_words_of_a_kernel_are_reported(tmp_path: Path) -> None:
    text = "Panic#1 Part1\n<6>usb up\n<0>Kernel panic - not syncing: no root\n"
    write(tmp_path, {"dmesg-efi_pstore-176400000001001": text})
    failed = FailedBoot(deployment=7, number=0, started=0, why="")
    assert read_boot_messages(failed, (tmp_path,)) == tuple(text.splitlines())
    assert read_last_panic(1764000001, (tmp_path,)) == ""


@pytest.fixture
def machine(tmp_path: Path) -> Sysroot:
    maker = Maker(tmp_path / "maker")
    machine = maker.install(tmp_path / "machine", maker.publish("1"))
    passwd = "ada:x:1000:1000:Ada Lovelace:/home/ada:/bin/bash\n"
    upper = machine.deployments / "1/etc/upper"
    write(
        upper,
        {
            "hostname": "reefhost\n",
            "passwd": "root:x:0:0:root:/root:/bin/bash\n" + passwd,
            "shadow": "root:*:1::::::\nada:$y$j9T$geheim:1::::::\n",
            "vpn/ada.conf": "geheim\n",
            "atoll/machine.toml": "schema = 1\n[keep]\ndeployments = 4\n",
        },
    )
    tries = machine.state / "tries/1"
    write(tries, {"1-started": "atoll-1.conf\n", "1-failed": "reefhost at 10.1.2.3 ```\n"})
    return machine


def test_a_report_names_the_system_and_no_person(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--root", str(machine.root)]) == 0
    text = capsys.readouterr().out
    assert "added       /etc/vpn/USER1.conf" in text
    assert "deployment 1, boot attempt 1: HOST at ADDRESS ```" in text
    for secret in ("geheim", "reefhost", "Lovelace", "ada", "10.1.2.3"):
        assert secret not in text
    found = parse_report(text.encode(), where="report.md")
    assert (found.name, found.version, found.layered) == ("hello", "1", True)
    assert found.image.endswith("/layout:hello")
    assert main(["report", "--json", "--root", str(machine.root)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tree"] == found.tree
    assert document["machine_file"] == {"schema": 1, "keep": {"deployments": 4}}
    assert parse_report(json.dumps(document).encode(), where="x") == found
    assert "USER1" in json.dumps(document["drift"])


def test_names_stay_when_asked_for_but_never_contents(
    machine: Sysroot, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--with-names", "--root", str(machine.root)]) == 0
    text = capsys.readouterr().out
    assert "/etc/vpn/ada.conf" in text
    assert "reefhost at 10.1.2.3" in text
    assert "geheim" not in text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# Something else\n", "is no report"),
        ('{"atoll_report": 2}', "must be 1"),
        ('{"atoll_report": 1, "tree": "", "image": ""}', "is not a tree digest"),
        ("```json\n{atoll_report\n```\n", "is no report"),
    ],
)
def test_a_text_that_is_no_report_is_refused(text: str, why: str) -> None:
    with pytest.raises(Damaged, match=why):
        parse_report(text.encode(), where="report.md")


def test_the_reported_tree_is_found_where_the_machine_got_it_or_by_its_version(
    tmp_path: Path,
) -> None:
    maker = Maker(tmp_path / "maker")
    layout = tmp_path / "maker/layout"
    first = maker.publish("1", name="1")
    followed = f"oci:{layout}:1"
    reported = ReportedImage(image=followed, tree=first.tree, name="x", version="1")
    empty = tmp_path / "empty"
    assert find_reported(reported, empty, NullReporter()) == followed
    assert find_reported(reported, maker.store.root, NullReporter()) == first.tree
    second = maker.publish("2", name="stable")
    moved = ReportedImage(image=f"oci:{layout}:stable", tree=first.tree, name="x", version="1")
    assert find_reported(moved, empty, NullReporter()) == followed
    gone = ReportedImage(image=f"oci:{layout}:stable", tree=first.tree, name="x", version="../0")
    with pytest.raises(NotFound, match=f"is now another system, tree {second.tree}"):
        find_reported(gone, empty, NullReporter())


def test_of_a_machine_with_a_recipe_of_its_own_the_base_is_found_and_that_is_said(
    tmp_path: Path,
) -> None:
    said: list[str] = []

    class Listener(NullReporter):
        def notice(self, text: str) -> None:  # type: ignore[explicit-override]
            said.append(text)

    maker = Maker(tmp_path / "maker")
    base = maker.publish("1").tree
    own = TreeId("1" * 64)
    word = maker.follow()
    reported = ReportedImage(
        image=word, tree=own, name="hello", version="1", layered=True, base=base
    )
    assert find_reported(reported, tmp_path / "empty", NullReporter()) == word
    assert find_reported(reported, maker.store.root, Listener()) == word
    assert "without what the machine's own recipe added" in said[0]


def test_a_report_and_another_image_cannot_both_be_run(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("{}")
    assert main(["vm", "store:hello", "--report", str(tmp_path / "r")]) == UsageError.exit_code
    assert main(["vm", "--report", str(tmp_path / "r")]) == Damaged.exit_code
