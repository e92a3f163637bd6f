"""An installer that writes where it likes is captured on a machine in a directory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.tree.model import Directory, Regular, Symlink
from tests.programs.layered_machine import TOP, LayeredMachine, make_machine

if TYPE_CHECKING:
    from atoll.tree.model import Node
    from tests.programs.test_build import System

pytestmark = [pytest.mark.root, pytest.mark.network]

INSTALLER = r"""#!/bin/sh
set -eu
here=$(dirname "$0")
useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin vendor
mkdir -p /opt/vendor/bin /etc/vendor /usr/local/bin /var/lib/vendor /root/.vendor
cp "$here/payload" /opt/vendor/bin/daemon
chmod 0755 /opt/vendor/bin/daemon
printf 'raise\n' > /opt/vendor/bin/raise
chmod 4755 /opt/vendor/bin/raise
ln /opt/vendor/bin/raise /opt/vendor/bin/lower
ln -s ../../opt/vendor/bin/daemon /usr/bin/vendord
printf '#!/bin/sh\n' > /usr/local/bin/vendor-tool
chmod 0755 /usr/local/bin/vendor-tool
ln -s vendor-tool /usr/local/bin/vt
printf 'secret\n' > '/etc/vendor/a secret'
chown root:vendor '/etc/vendor/a secret'
chmod 0640 '/etc/vendor/a secret'
printf '# vendor\n' >> /etc/profile
rm /etc/motd
printf 'first\n' > /var/lib/vendor/db
chown -R vendor:vendor /var/lib/vendor
printf 'mine\n' > /root/.vendor/settings
printf 'log\n' > /var/log/vendor.log
mkfifo /etc/vendor/pipe
cat > /etc/systemd/system/vendor.service <<UNIT
[Service]
User=vendor
ExecStart=/usr/local/bin/vendor-tool
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable vendor.service
printf 'out\033[2Jput\n'
"""


@pytest.fixture(scope="module")
def machine(system: System, tmp_path_factory: pytest.TempPathFactory) -> LayeredMachine:
    """Each test leaves it with the tree that it found."""
    return make_machine(system, tmp_path_factory.mktemp("capture") / "machine")


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    folder = tmp_path / "vendor-3.1"
    folder.mkdir()
    (folder / "install.sh").write_text(INSTALLER)
    (folder / "payload").write_text("#!/bin/sh\nexec sleep infinity\n")
    return folder


def digest(machine: LayeredMachine) -> dict[str, str]:
    """All that is on the machine, but the cache of builds and the lock. The name of an object is
    the digest of its content."""
    found = {}
    for folder, folders, files in os.walk(machine.root):
        if folder == str(machine.root / "atoll"):
            folders[:] = [each for each in folders if each != "cache"]
        for name in files:
            path = Path(folder, name)
            content = b"" if "objects" in path.parts else path.read_bytes()
            found[str(path)] = hashlib.sha256(content).hexdigest()
    found.pop(str(machine.root / "atoll/state/lock"), None)
    return found


def capture(
    machine: LayeredMachine, folder: Path, *words: str, code: int = 0, typed: str = ""
) -> str:
    """Run the installer, with ``typed`` on a terminal; what was printed."""
    command = ("--input", str(folder), "--", "sh", f"/run/atoll/inputs/{folder.name}/install.sh")
    if not typed:
        done = machine.run("capture", *words, *command, code=code)
        return done.stdout + done.stderr
    master, slave = os.openpty()
    os.write(master, typed.encode())
    atoll = (sys.executable, "-B", "-m", "atoll", "capture", "--root", machine.root)
    done = subprocess.run(
        [*map(str, atoll), *words, *command],
        env=os.environ | {"PYTHONPATH": str(TOP / "src")},
        stdin=slave,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def describe(node: Node | None) -> tuple[str, int]:
    """The mode and size of a regular file."""
    assert isinstance(node, Regular)
    return f"{node.metadata.mode & 0o7777:04o}", node.size


def is_same_file(node: Node | None, *names: bytes) -> bool:
    """Whether the names in a directory are hard links to one file."""
    assert isinstance(node, Directory)
    return len({id(node.entries[name]) for name in names}) == 1


def test_nothing_is_touched_before_the_answer(machine: LayeredMachine, installer: Path) -> None:
    """Without a terminal it is shown and thrown away; what it would be is in the JSON too."""
    before = digest(machine)
    shown = capture(machine, installer)
    assert "RUNS WITH MORE RIGHTS" in shown and "setuid root" in shown
    for words in (
        "/opt/vendor ",
        "/usr/lib/captured/install",
        "enabled     vendor.service",
        "added       user vendor",
        "/root/.vendor",
        "/etc/vendor/pipe",
        "/var/log/vendor.log",
        "out\\x1b[2Jput",
        "there is no terminal to ask on",
        "nothing of this machine was changed",
    ):
        assert words in shown, words
    assert "\x1b" not in shown
    found = json.loads(
        machine.run(
            "capture", "--json", "--", "sh", "-c", "echo x > /etc/x; exit 3", code=12
        ).stdout
    )
    assert [each["path"] for each in found["image"]] == ["/etc/x"]
    assert found["status"] == 3 and found["kept"] == "nothing"
    assert "changed nothing" in machine.run("capture", "--", "true", code=77).stderr
    assert "no command" in machine.run("capture", code=2).stderr
    assert "nothing to plan" in machine.run("plan", "capture", "--", "true", code=77).stderr
    packages = "printf '\\nPackage: x\\nStatus: install ok installed\\nVersion: 1\\n"
    packages += "Architecture: all\\n' >> /var/lib/dpkg/status"
    refused = machine.run("capture", "--keep", "layer", "--", "sh", "-c", packages, code=11).stderr
    assert "installs or removes packages: x" in refused and "atoll add x" in refused
    assert digest(machine) == before


def test_interrupted_it_leaves_nothing(machine: LayeredMachine) -> None:
    """Ctrl-C while the program runs: its processes are gone, and so is what it wrote."""
    first = machine.newest
    words = (sys.executable, "-B", "-m", "atoll", "capture", "--root", machine.root, "--")
    script = "echo x > /etc/x; echo ready; exec sleep 987654"
    with subprocess.Popen(
        [*map(str, words), "sh", "-c", script],
        env=os.environ | {"PYTHONPATH": str(TOP / "src")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("| ready" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert not list((machine.root / "atoll/cache").glob(".new-*"))
    assert machine.newest == first
    assert "another operation" not in machine.run("capture", "--", "true", code=77).stderr


def test_a_layer_is_in_the_next_tree_until_it_is_removed(
    machine: LayeredMachine, installer: Path
) -> None:
    first = machine.newest
    assert "nothing was kept" in capture(machine, installer, typed="no\n")
    assert machine.newest == first
    told = capture(machine, installer, "--name", "vendor", typed="layer\n")
    assert "l to keep it as a layer" in told and "s to keep it as a script" in told
    assert "to take it back later: atoll capture --remove vendor" in told
    assert machine.newest["tree"] != first["tree"]

    look = machine.reader()
    assert describe(look("usr/lib/opt/vendor/bin/daemon")) == ("0755", 30)
    assert describe(look("usr/lib/opt/vendor/bin/raise")) == ("4755", 6)
    assert is_same_file(look("usr/lib/opt/vendor/bin"), b"raise", b"lower")
    assert describe(look("usr/lib/captured/vendor/bin/vendor-tool")) == ("0755", 10)
    link = look("usr/lib/captured/vendor/bin/vt")
    assert isinstance(link, Symlink)
    assert link.target == b"/usr/lib/captured/vendor/bin/vendor-tool"
    assert look("usr/lib/tmpfiles.d/captured-vendor.conf") is not None
    assert isinstance(look("usr/bin/vendord"), Symlink)
    secret, state = (
        look("etc/vendor/a secret"),
        look("usr/lib/atoll/factory/var/lib/vendor/db"),
    )
    assert isinstance(secret, Regular) and isinstance(state, Regular)
    assert secret.metadata.mode & 0o7777 == 0o640
    assert secret.metadata.gid == state.metadata.uid == state.metadata.gid > 0
    wants = look("etc/systemd/system/multi-user.target.wants")
    assert isinstance(wants, Directory) and b"vendor.service" in wants.entries
    assert look("etc/motd") is None and look("etc/vendor/pipe") is None

    kept = machine.upper / "atoll/captured/vendor"
    assert kept.joinpath("files/etc/vendor/a secret").stat().st_mode & 0o777 == 0o600
    assert kept.joinpath("record.json").stat().st_mode & 0o777 == 0o600
    text = machine.etc("atoll/machine.toml") or ""
    assert 'name = "captured-vendor"' in text and 'enable = ["vendor.service"]' in text
    assert "nothing changes" in machine.run("apply", code=77).stderr
    taken = capture(machine, installer, "--keep", "layer", "--name", "vendor", code=2)
    assert "a captured layer vendor already" in taken

    assert "did you mean: vendor" in machine.run("capture", "--remove", "vendr", code=7).stderr
    machine.run("capture", "--remove", "vendor")
    assert machine.newest["tree"] == first["tree"]
    assert "vendor" not in (machine.etc("atoll/machine.toml") or "")


def test_a_script_runs_at_each_build(machine: LayeredMachine, tmp_path: Path) -> None:
    """Its local files are kept for it, and stay executable; /usr/local is the tree's."""
    first = machine.newest
    script = tmp_path / "tool.sh"
    script.write_text(
        "#!/bin/sh\nset -e\nmkdir -p /usr/local/lib/tool\necho 1 > '/usr/local/lib/tool/a b'\n"
    )
    script.chmod(0o755)
    machine.run("capture", "--keep", "script", "--", str(script))
    look = machine.reader()
    assert describe(look("usr/lib/captured/tool/lib/tool/a b")) == ("0644", 2)
    kept = machine.upper / "atoll/captured/tool/inputs/tool.sh"
    assert kept.read_text() == script.read_text() and os.access(kept, os.X_OK)
    assert "/run/atoll/inputs/tool.sh" in (machine.etc("atoll/machine.toml") or "")
    machine.run("capture", "--remove", "tool")
    assert machine.newest["tree"] == first["tree"]
