"""What differs on a machine, in its own words: a new one, then one that a person has changed."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from atoll.machine.report.parse_report import parse_report

if TYPE_CHECKING:
    from vmtest import Machine

    from .conftest import Built

pytestmark = [pytest.mark.vm, pytest.mark.root, pytest.mark.network, pytest.mark.long]


def drift(machine: Machine, *, user: str = "") -> dict[str, Any]:
    command = "atoll drift --json || test $? = 77 -o $? = 16"
    words = f"su {user} -c '{command}'" if user else command
    found: dict[str, Any] = json.loads(machine.succeed(words))
    return found


def test_a_new_machine_has_nothing_of_its_own(booted: Machine, hello: Built) -> None:
    found = drift(booted)
    assert found["tree"] == hello.tree
    for group in ("etc", "units", "accounts", "local", "not_compared"):
        assert found[group] == [], group
    assert [each for each in found["kernel"] if each["where"] != "this boot"] == []
    assert found["scratch"] is None


def test_what_a_person_does_is_found(booted: Machine) -> None:
    booted.succeed(
        "echo mine >> /etc/motd",
        "install -m 600 /dev/null /etc/secret && echo geheim > /etc/secret",
        "systemctl disable ssh.service && systemctl mask fstrim.timer",
        "useradd --create-home --groups sudo --shell /bin/sh adalovelace",
        "echo adalovelace:geheimes | chpasswd",
        "mkdir /opt/vendor && cp /bin/true /opt/vendor && echo x > /usr/local/bin/tool",
        "mount -t tmpfs scratch /mnt && mkdir /mnt/u /mnt/w && mount -t overlay scratch"
        " -o lowerdir=/usr,upperdir=/mnt/u,workdir=/mnt/w /usr",
    )
    found = drift(booted)
    assert found["scratch"] == "/mnt/u"
    booted.succeed("umount --lazy /usr && umount --lazy /mnt")
    changes = {(each["path"], each["change"]): each["package"] for each in found["etc"]}
    assert changes.keys() == {("/etc/motd", "changed"), ("/etc/secret", "added")}
    assert {(each["unit"], each["change"]) for each in found["units"]} >= {
        ("ssh.service", "disabled"),
        ("fstrim.timer", "masked"),
    }
    (user,) = found["accounts"]
    fields = {each["field"]: each["after"] for each in user["fields"]}
    assert (user["name"], fields["groups"], fields["password"]) == ("adalovelace", "sudo", "")
    assert [each["path"] for each in found["local"]] == ["/usr/local/bin/tool", "/opt/vendor"]
    assert "geheim" not in json.dumps(found)


def test_every_user_sees_it_and_what_could_not_be_compared(booted: Machine) -> None:
    found = drift(booted, user="atoll")
    assert found["tree"] is None
    assert "/etc/motd" in [each["path"] for each in found["etc"]]
    left = {each["what"] for each in found["not_compared"]}
    assert {"/etc/shadow", "the boot entry of deployment 1"} <= left
    # It can be seen that there is a file, but not what is in it.
    assert "/etc/secret" in {each["path"] for each in found["etc"]}


def test_it_becomes_the_machine_file_and_is_explained_then(booted: Machine) -> None:
    shown = booted.succeed("atoll drift --adopt --yes")
    assert "geheim" not in shown and "password:adalovelace" in shown
    machine_file = tomllib.loads(booted.succeed("cat /etc/atoll/machine.toml"))
    assert [row["path"] for row in machine_file["file"]] == ["/etc/motd"]
    assert machine_file["user"][0]["name"] == "adalovelace"
    assert machine_file["units"]["mask"] == ["fstrim.timer"]
    explained = drift(booted)["in_machine_file"]
    assert {"/etc/motd", "fstrim.timer", "user:adalovelace"} <= set(explained)
    booted.succeed("rm -r /etc/atoll/machine.toml")


def test_all_files_of_the_image_are_verified(booted: Machine) -> None:
    found = json.loads(booted.succeed("atoll drift --verify --json", timeout=900))
    assert found["damaged"] == []


def test_a_report_names_the_system_and_no_person(booted: Machine, hello: Built) -> None:
    booted.succeed("hostnamectl hostname geheimhost")
    report = booted.succeed("atoll report")
    for word in ("geheim", "adalovelace"):
        assert word not in report
    assert parse_report(report.encode(), where="report").tree == hello.tree
    assert "## Failed units" in report and "/etc/motd" in report
    everyone = booted.succeed("su atoll -c 'atoll report'")
    assert parse_report(everyone.encode(), where="report").tree == hello.tree
    assert "## Not read" in everyone and "geheim" not in everyone
