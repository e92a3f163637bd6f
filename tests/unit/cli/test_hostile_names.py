"""Names that strangers chose (paths, versions, entries on the ESP), through every verb that prints
them: they steer no terminal and begin no line."""

from __future__ import annotations

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

import pytest

from atoll.cli.main import main
from tests.machines import Maker

if TYPE_CHECKING:
    from pathlib import Path

FORGED = "next: sudo rm -rf ~"
EVIL = f"a\x1b[2J\x9b1m\u202e\n{FORGED}\n\r\x7f"
RAW = os.fsencode(EVIL) + b"\xff"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine and a store in which everything that can have a hostile name has one."""
    folder = tmp_path_factory.mktemp("evil")
    maker = Maker(folder / "maker")
    name = os.fsdecode(RAW)
    one = maker.publish("1", {f"usr/lib/{name}": "x" * 100, "etc/two": "2\n"})
    maker.publish("2", {f"usr/lib/{name}2": "x" * 100, f"etc/{name}": "theirs\n"})
    sysroot = maker.install(folder / "machine", one)
    upper = sysroot.deployments / "1/etc/upper"
    (upper / name).write_text("mine\n")
    (upper / f"{name}.d").mkdir()
    (upper / "motd").write_text("mine\n")
    (sysroot.entries / f"{EVIL.replace('/', '_')}.conf").write_text("title x\n")
    (sysroot.deployments / "7").mkdir()
    (sysroot.deployments / "7/deployment.json").write_text(json.dumps({"format": EVIL}))
    (sysroot.state / "held").mkdir(exist_ok=True)
    hold = {"format": 1, "deployment": 1, "version": EVIL, "why": EVIL, "when": 1}
    (sysroot.state / "held" / one.tree).write_text(json.dumps(hold))
    event = {"when": 1, "what": EVIL, "name": EVIL, "version": EVIL, "tree": "", "image": EVIL}
    (sysroot.state / "history").write_text(json.dumps(event) + "\n")
    return folder


VERBS = [
    "status --root {m}",
    "plan --root {m}",
    "history --root {m}",
    "etc --root {m}",
    "drift --root {m}",
    "report --root {m}",
    "health --root {m}",
    "upgrade --check --root {m}",
    "plan rollback 1 --root {m}",
    "gc --dry-run --root {m}",
    "inspect oci:{l}:hello-1 --store {s}",
    "diff --files oci:{l}:hello-1 oci:{l}:hello-2 --store {s}",
    "tree ls {m}/../maker/root-hello-1",
    "tree dump {m}/../maker/root-hello-2",
    "store list --store {s}",
    "store check --store {s}",
    "pull oci:{l}:hello-2 --store {m}/../pulled",
    "upgrade --root {m}",
    "etc --root {m}",
    "rollback 1 --root {m}",
    "inspect {e}",
    "pull {e}",
    "explain {e}",
    "rollback {e} --root {m}",
    "build {e}",
    "check {e}",
    "new {e}/x --template derive --from oci:x:1",
    "disk {e} {e}",
    "rebase {e} --root {m}",
    "{e}",
]


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_hostile_name_stays_a_name(
    verb: str, as_json: bool, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    words = [
        word.format(m=place / "machine", l=place / "maker/layout", s=place / "maker/store", e=EVIL)
        for word in verb.split()
    ]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main([*words, "--json"] if as_json else words)
    out.flush()
    assert code != 70, err.getvalue()
    shown = out.buffer.getvalue().decode() if not verb.startswith("tree dump") else ""
    for text in (shown, err.getvalue()):
        for line in text.splitlines():
            assert line.isprintable(), ascii(line)
            assert not line.startswith(FORGED), line
    if as_json and code == 0 and shown:
        json.loads(shown)
