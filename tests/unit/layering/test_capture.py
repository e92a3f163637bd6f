"""Captured changes: where each belongs, what makes it again, and how it is taken out."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, NotFound
from atoll.builder.finish.var_rules import RULES
from atoll.cli.output.capture import summarize
from atoll.cli.run.capture import ask, suggest_name
from atoll.host.line_pipe import line_pipe
from atoll.layering.adoption import AdoptedRow, AdoptedWord
from atoll.layering.capture.layer import MOST_BYTES, MOST_FILES, find_obstacle, plan_layer
from atoll.layering.capture.model import CapturedPath, Happened, NotKept, PathKind
from atoll.layering.capture.places import (
    Place,
    Sorted,
    find_place,
    find_state_rules,
    merge_below,
    sort_changes,
)
from atoll.layering.capture.read_changes import NamesOfIds, read_changes
from atoll.layering.capture.record import (
    Addition,
    add_captured,
    find_free_name,
    format_record,
    list_captured,
    parse_record,
    remove_captured,
)
from atoll.recipe.language.parse import parse_machine_recipe

if TYPE_CHECKING:
    from pathlib import Path

ADDED, FILE = Happened.ADDED, PathKind.FILE
NAMES = NamesOfIds(users={os.getuid(): "me"}, groups={os.getgid(): "us"}, packages={"/a": "pack"})


def changed(path: str, kind: PathKind = FILE, **more: object) -> CapturedPath:
    values = {"happened": ADDED, "mode": 0o644, **more}
    return CapturedPath(path=path, kind=kind, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/opt/vendor/bin/tool", Place.IMAGE),
        ("/usr/local/bin/tool", Place.IMAGE),
        ("/usr/bin/tool", Place.IMAGE),
        ("/etc/vendor.conf", Place.IMAGE),
        ("/var/lib/dpkg/alternatives/editor", Place.IMAGE),
        ("/var/lib/vendor/db", Place.STATE),
        ("/var/spool/vendor", Place.STATE),
        ("/var/log/vendor.log", Place.DROPPED),
        ("/var/lib/dpkg/status", Place.DROPPED),
        ("/var/lib/dpkg/info/x.list", Place.DROPPED),
        ("/tmp/x", Place.DROPPED),
        ("/etc/passwd-", Place.DROPPED),
        ("/etc/passwd", Place.ACCOUNTS),
        ("/etc/subuid", Place.ACCOUNTS),
        ("/root/.cargo/bin/x", Place.PERSON),
        ("/home/ada/x", Place.PERSON),
        ("/srv/data", Place.PERSON),
        ("/etc/ld.so.cache", Place.GENERATED),
        ("/etc/fstab", Place.LEFT_OUT),
        ("/etc/machine-id", Place.LEFT_OUT),
        ("/etc/ssh/ssh_host_ed25519_key", Place.LEFT_OUT),
        ("/boot/vmlinuz", Place.LEFT_OUT),
        ("/usr/lib/atoll/image.json", Place.LEFT_OUT),
        ("/opt/x\ny", Place.LEFT_OUT),
        ("/opt/\x1b[2J", Place.LEFT_OUT),
        ("/opt/\udcff", Place.LEFT_OUT),
    ],
)
def test_where_a_path_belongs(path: str, place: Place) -> None:
    assert find_place(changed(path), RULES)[0] is place


def test_what_no_image_can_have_is_left_out_with_the_reason() -> None:
    for change, why in (
        (changed("/etc/x", PathKind.OTHER), "a device, a socket or a pipe"),
        (changed("/etc/x", owner=""), "without a name"),
        (changed("/etc/x", xattrs=("user.x",)), "user.x"),
        (changed("/etc/x", PathKind.SYMLINK, target="a\nb"), "characters"),
        (changed("/etc/x", capabilities="cap_net_raw=ep [root 7]"), "capabilities"),
    ):
        place, said = find_place(change, RULES)
        assert place is Place.LEFT_OUT and why in said
    removed = changed("/etc/x", PathKind.OTHER, happened=Happened.REMOVED, owner="")
    assert find_place(removed, RULES)[0] is Place.IMAGE


def test_words_cover_state_without_a_rule_and_links_of_units_are_said_already() -> None:
    link = "/etc/systemd/system/multi-user.target.wants/x.service"
    found = sort_changes(
        [
            changed("/var/lib/vendor", PathKind.DIRECTORY),
            changed("/var/lib/vendor/db"),
            changed("/var/lib/misc/x"),
            changed("/etc/ld.so.cache"),
            changed(link, PathKind.SYMLINK),
        ],
        RULES,
        frozenset({link}),
    )
    assert found.image == () and found.commands == ("ldconfig",)
    assert find_state_rules(found.state, RULES) == ("/var/lib/vendor",)


def test_a_directory_stands_for_what_is_in_it() -> None:
    paths = [NotKept(path=each, why="y") for each in ("/root/.x/a", "/root/.x", "/root/.x-y")]
    assert merge_below([*paths, NotKept(path="/root/.x/b", why="z")]) == (
        NotKept(path="/root/.x", why="y", count=2),
        NotKept(path="/root/.x/b", why="z"),
        NotKept(path="/root/.x-y", why="y"),
    )
    folder = changed("/opt/v", PathKind.DIRECTORY)
    below = changed("/opt/v/bin", PathKind.DIRECTORY)
    first = changed("/opt/v/bin/a", size=5)
    second = changed("/opt/v/bin/b", size=5, link_of="/opt/v/bin/a")
    (row,) = summarize([folder, below, first, second])
    assert (row.path, row.files, row.size) == ("/opt/v", 2, 5)


def test_privileges_are_named() -> None:
    assert changed("/x", mode=0o4755).privileges == "setuid root"
    assert changed("/x", mode=0o2755, group="mail").privileges == "setgid mail"
    assert changed("/x", capabilities="cap_net_raw=ep").privileges == "cap_net_raw=ep"
    assert not changed("/x", mode=0o755).privileges
    assert not changed("/x", PathKind.DIRECTORY, mode=0o2755).privileges


def test_the_program_of_a_layer_makes_the_changes_again() -> None:
    found = Sorted(
        image=(
            changed("/etc/gone", happened=Happened.REMOVED),
            changed("/etc/was", PathKind.DIRECTORY, replaces=True, mode=0o700),
            changed("/opt/v/a b", mode=0o4755),
            changed("/opt/v/c", link_of="/opt/v/a b"),
            changed("/usr/bin/-x", PathKind.SYMLINK, target="../$HOME"),
            changed("/usr/bin/ping", capabilities="cap_net_raw=ep"),
            changed("/usr/local/bin", PathKind.DIRECTORY, happened=Happened.CHANGED),
            changed("/usr/local/bin/tool"),
            changed("/usr/local/bin/t", PathKind.SYMLINK, target="tool"),
            changed("/usr/local/bin/out", PathKind.SYMLINK, target="../../bin/sh"),
        ),
        commands=("ldconfig",),
    )
    layer = plan_layer(found, "v", "sh ./install\n.sh")
    assert layer.program.splitlines() == [
        "#!/bin/sh",
        "# Recorded by atoll capture. It makes again what this did:",
        "#   sh ./install\\n.sh",
        "set -eu",
        "cd /run/atoll/inputs/files",
        "rm -rf -- /etc/gone",
        "rm -rf -- /etc/was",
        "install -d -m 0700 -o root -g root -- /etc/was",
        "install -D -m 4755 -o root -g root -t /opt/v -- 'opt/v/a b'",
        "install -D -m 0644 -o root -g root -t /usr/bin -- usr/bin/ping",
        "install -D -m 0644 -o root -g root -t /usr/lib/captured/v/bin"
        " -- usr/lib/captured/v/bin/tool",
        "install -D -m 0644 -T -- usr/lib/tmpfiles.d/captured-v.conf"
        " /usr/lib/tmpfiles.d/captured-v.conf",
        "mkdir -p -- /opt/v",
        "ln -fT -- '/opt/v/a b' /opt/v/c",
        "mkdir -p -- /usr/bin",
        "ln -sfT -- '../$HOME' /usr/bin/-x",
        "mkdir -p -- /usr/lib/captured/v/bin",
        "ln -sfT -- /usr/lib/captured/v/bin/tool /usr/lib/captured/v/bin/t",
        "mkdir -p -- /usr/lib/captured/v/bin",
        "ln -sfT -- /usr/bin/sh /usr/lib/captured/v/bin/out",
        "setcap cap_net_raw=ep /usr/bin/ping",
        "if command -v ldconfig > /dev/null; then ldconfig; fi",
    ]
    assert [each.path for each in layer.contents] == [
        "/opt/v/a b",
        "/usr/bin/ping",
        "/usr/local/bin/tool",
    ]
    (links,) = layer.made.values()
    assert links.decode().splitlines()[1:] == [
        f"L /usr/local/bin/{name} - - - - /usr/lib/captured/v/bin/{name}"
        for name in ("tool", "t", "out")
    ]


def test_a_layer_has_bounds() -> None:
    half = MOST_BYTES // 2
    assert not find_obstacle(Sorted(image=(changed("/a", size=half), changed("/b", size=half))))
    assert "MiB" in find_obstacle(Sorted(image=(changed("/a", size=MOST_BYTES + 1),)))
    many = tuple(changed(f"/{number}") for number in range(MOST_FILES + 1))
    assert str(MOST_FILES) in find_obstacle(Sorted(image=many))


def test_taken_out_the_machine_file_is_as_before() -> None:
    """What a person had in it stays, also rows and words that the layer has too."""
    text = (
        "# mine\nschema = 1\n\n[[script]]\nname = 'own'\ntext = 'true'\n\n"
        "[units]\n# these\nenable = ['ssh.service']\n"
    )
    addition = Addition(
        name="v",
        script={"source": "captured/v/program"},
        rows=(
            AdoptedRow(name="user:v", table="user", values={"name": "v", "system": True}),
            AdoptedRow(name="group:g", table="group", values={"name": "g"}),
        ),
        words=tuple(
            AdoptedWord(name=word, path=("units", "enable"), word=word)
            for word in ("v.service", "ssh.service")
        ),
    )
    after, record = add_captured(text, addition, "sh x")
    recipe = parse_machine_recipe(after, file="machine.toml").recipe
    assert [each.name for each in recipe.scripts] == ["own", "captured-v"]
    assert recipe.units.enable == ("ssh.service", "v.service")
    assert list_captured(after) == ("v",)
    assert record.words == (("units.enable", "v.service"),)
    assert parse_record(format_record(record), file="x") == record
    again = remove_captured(after, "v", record)
    before = parse_machine_recipe(text, file="m").recipe
    assert parse_machine_recipe(again, file="m").recipe.scripts == before.scripts
    assert parse_machine_recipe(again, file="m").recipe.users == ()
    assert parse_machine_recipe(again, file="m").recipe.units == before.units
    assert "# mine" in again and "# these" in again
    with pytest.raises(NotFound, match="no captured layer w") as caught:
        remove_captured(after, "w", None)
    assert "v" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "command": "x", "rows": [["a"]]}']
)
def test_a_broken_record_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_record(data, file="record.json")


def test_names() -> None:
    assert suggest_name(("sh", "./Vendor Setup-3.1.run")) == "sh"
    assert suggest_name(("sh", "./vendor_setup.run", "/x")) == "vendor-setup"
    assert suggest_name(("sh", "-c", "curl https://x/y | sh")) == "sh"
    assert suggest_name(("./...",)) == "captured"
    assert find_free_name("x", ()) == "x"
    assert find_free_name("x", ("x", "x-2")) == "x-3"


@pytest.mark.parametrize(
    ("typed", "answer"),
    [("l", "layer"), ("Layer", "layer"), ("s", "script"), ("stop", "nothing"), ("", "nothing")],
)
def test_only_the_letters_of_the_question_keep_it(
    typed: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
    assert ask({"layer": "", "script": ""}, 0) == answer
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{typed}\n"))
    assert ask({"layer": "it is too large", "script": ""}, 3) in ("nothing", "script")


def test_changes_are_read_from_two_directories(tmp_path: Path) -> None:
    """Only times differ: no change. A file that is the same file twice is a hard link."""
    lower, upper = tmp_path / "lower", tmp_path / "upper"
    for top in (lower, upper):
        (top / "d").mkdir(parents=True)
        (top / "a").write_text("one")
        (top / "same").write_text("same")
        (top / "d/link").symlink_to("x")
    (upper / "a").write_text("two")
    (upper / "d/new").write_text("new")
    os.link(upper / "d/new", upper / "d/other")
    (upper / "d/link").unlink()
    (upper / "d/link").mkdir()
    os.mkfifo(upper / "pipe")
    found = {each.path: each for each in read_changes(lower, upper, NAMES)}
    assert list(found) == ["/a", "/d/link", "/d/new", "/d/other", "/pipe"]
    assert found["/a"].happened is Happened.CHANGED and found["/a"].package == "pack"
    assert (found["/a"].owner, found["/a"].group) == ("me", "us")
    assert found["/d/link"].replaces and found["/d/link"].kind is PathKind.DIRECTORY
    assert found["/d/other"].link_of == "/d/new" and not found["/d/new"].link_of
    assert found["/pipe"].kind is PathKind.OTHER


def test_lines_of_a_program_arrive_whole() -> None:
    lines: list[str] = []
    with line_pipe(lines.append) as pipe:
        pipe.write(b"one\ntw")
        pipe.write(b"o\r50%\r\n\xff\nend")
    assert lines == ["one", "two", "50%", "�", "end"]

    def refuse(_line: str) -> None:
        raise BrokenPipeError

    with line_pipe(refuse) as pipe:
        for _ in range(40):
            pipe.write(b"x\n" * 4096)
