"""A real build: a recipe becomes a tree, in the right shape, twice the same, with nothing left.

One small system is built once for all tests. Its tree is looked at as early boot mounts it: the
composefs image over the objects, and the tree's own part of /var bound into place.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.programs import standin

pytestmark = [pytest.mark.root, pytest.mark.network]

NOBODY = 65534
SOURCE = Path(__file__).parents[2] / "src"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPFYcdxc1wmTQx9iYq4u3rU8a5TVcNpXb0sH2OVS4Y1r ann@example"
HASH = "$6$atollsalt$63sz5ZWHaI6weVaGaRahah.lscoU4EEdeaU/iCdNT27wx4GSyB/ezVgmrAlk1bS64OxA.Br59jvMSUYl0wr/Y0"  # noqa: E501
RECIPE = f"""
schema = 1
from = "debian:trixie"

[image]
name = "small"
version = "1"

[packages]
install = ["systemd-sysv", "linux-image-cloud-amd64", "openssh-server", "dbus", "tzdata",
           "python3-minimal", "libcap2-bin", "./atoll.deb", "./trap.deb"]
remove = ["e2fsprogs-l10n"]

[kernel]
args = ["quiet"]

[system]
hostname = "small"
timezone = "Europe/Berlin"

[[user]]
name = "ann"
uid = 1234
ssh_keys = ["{KEY}"]
password = "{HASH}"

[[user]]
name = "root"
ssh_keys = ["{KEY}"]

[[file]]
path = "/etc/greeting.d/one"
text = "hello\\n"
mode = "0640"
group = "adm"

[units]
disable = ["e2scrub_all.timer"]
mask = ["e2scrub_reap.service"]
"""

MOUNT = """
set -eu
mount -t tmpfs view "$VIEW"
mkdir "$VIEW/meta" "$VIEW/root" "$VIEW/etc" "$VIEW/etc/upper" "$VIEW/etc/work"
mount -t erofs -o ro "$STORE/images/$TREE" "$VIEW/meta"
mount -t overlay -o "ro,lowerdir=$VIEW/meta::$STORE/objects,metacopy=on,redirect_dir=on" \
    tree "$VIEW/root"
mount -t overlay -o "lowerdir=$VIEW/root/etc,upperdir=$VIEW/etc/upper,workdir=$VIEW/etc/work" \
    etc "$VIEW/root/etc"
mount -t tmpfs var "$VIEW/root/var"
mount -t proc proc "$VIEW/root/proc"
mount -t tmpfs run "$VIEW/root/run"
while read -r path; do
    mkdir -p "$VIEW/root$path"
    mount --bind "$VIEW/root/usr/lib/atoll$path" "$VIEW/root$path"
done < "$VIEW/root/usr/lib/atoll/tree-owned"
mount -t tmpfs opt "$VIEW/root/opt"
for package in "$VIEW"/root/usr/lib/opt/*; do
    mkdir "$VIEW/root/opt/${package##*/}"
    mount --bind "$package" "$VIEW/root/opt/${package##*/}"
done
cd "$VIEW"
eval "$1"
"""


SEED = "chroot root systemd-tmpfiles --create --prefix=/var"

PLAIN = """
schema = 1
from = "debian:trixie"
image = { name = "other", version = "1" }
packages = { install = [%s] }
"""


@dataclass(frozen=True)
class System:
    """What was built, and where."""

    folder: Path
    store: Path
    tree: str
    manifest: str

    def shell(self, script: str) -> str:
        """Run a script beside the mounted tree: it is in ``root``, /etc's changes in etc/upper."""
        view = self.folder / "view"
        view.mkdir(exist_ok=True)
        environment = os.environ | {
            "VIEW": str(view),
            "STORE": str(self.store),
            "TREE": self.tree,
            "LC_ALL": "C.UTF-8",
        }
        words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MOUNT, "sh", script]
        done = subprocess.run(words, env=environment, capture_output=True, check=False, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def read(self, path: str, *, seeded: bool = False) -> str:
        """A file; of ``/var`` it is there only when that was ``seeded``."""
        return self.shell(f"{SEED if seeded else 'true'}; cat root{path}")


def build(
    folder: Path, store: Path, *more: str, around: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    words = [
        *around,
        sys.executable,
        "-m",
        "atoll.cli.main",
        "build",
        str(folder),
        "--store",
        str(store),
        *more,
    ]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "atoll.toml").write_text(text)
    return folder


def copy_cache(store: Path, target: Path, *names: str) -> None:
    """Let a new store begin with some of what another one has cached."""
    for name in names:
        words: list[str | Path] = [
            "cp",
            "--archive",
            "--link",
            store / "cache" / name,
            target / "cache" / name,
        ]
        (target / "cache").mkdir(parents=True, exist_ok=True)
        subprocess.run(words, check=True)


def make_system(folder: Path) -> System:
    """Build the small system that all tests of this directory look at."""
    write_recipe(folder)
    standin.write_atoll(folder)
    standin.write_trap(folder)
    store = folder / "store"
    done = build(folder, store, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    return System(folder, store, result["tree"], result["manifest"])


def test_the_tree_says_what_it_is(system: System) -> None:
    image = json.loads(system.read("/usr/lib/atoll/image.json"))
    assert image["name"] == "small"
    assert image["args"] == ["quiet"]
    kernels = system.shell("ls root/usr/lib/modules").split()
    assert kernels == [image["kernel"]]
    files = system.shell(f"ls root/usr/lib/modules/{image['kernel']}").split()
    assert {"vmlinuz", "initrd", "config", "System.map"} <= set(files)
    assert system.read("/usr/lib/atoll/recipe.toml") == RECIPE
    packages = json.loads(system.read("/usr/lib/atoll/packages.json"))
    assert ["atoll-system", "1", "all"] in packages


def test_mount_points_are_empty_directories(system: System) -> None:
    places = "boot efi dev proc run sys sysroot tmp var home root srv mnt media opt usr/local"
    script = f"cd meta; for d in {places}; do"
    script += ' test -d "$d" -a ! -L "$d"; find "$d" -mindepth 1; done'
    assert system.shell(script) == ""


def test_the_package_database_describes_the_tree(system: System) -> None:
    said = system.shell(f"{SEED}; chroot root dpkg --verify || true")
    assert [line for line in said.splitlines() if " c /" not in line] == []
    assert "openssh-server" in system.shell("chroot root dpkg -l")
    assert "Dir::State::extended_states" in system.read("/etc/apt/apt.conf.d/60atoll-marks")
    marks = system.shell("chroot root apt-mark showmanual")
    assert "openssh-server" in marks.split()


def test_presets_change_nothing(system: System) -> None:
    script = "chroot root systemctl --root=/ preset-all; find etc/upper -mindepth 1"
    assert system.shell(script) == ""


def test_units_are_as_packages_and_the_recipe_leave_them(system: System) -> None:
    links = system.shell("cd root/etc/systemd/system; find . -type l -printf '%P %l\\n'")
    found = dict(line.split(" ", 1) for line in links.splitlines())
    assert "multi-user.target.wants/trap.service" in found
    assert "trapped.service" in found
    assert "multi-user.target.wants/ssh.service" in found
    assert found["apt-daily.timer"] == "/dev/null"
    assert found["e2scrub_reap.service"] == "/dev/null"
    assert not any("retired" in name or "e2scrub_all" in name for name in found)
    assert system.read("/usr/lib/systemd/system-preset/00-atoll.preset").endswith("\ndisable *\n")


def test_nothing_of_a_machine_or_of_the_build_is_in_the_tree(system: System) -> None:
    assert system.read("/etc/machine-id") == "uninitialized\n"
    gone = "etc/ssh/ssh_host_* etc/passwd- etc/.pwd.lock usr/sbin/policy-rc.d etc/*.dpkg-old"
    gone += " etc/apt/apt.conf.d/99mmdebstrap etc/resolv.conf usr/lib/atoll/var/lib/dpkg/status-old"
    assert system.shell(f"cd root; ls -d {gone} 2>/dev/null || true") == ""
    assert system.shell("grep -rl $(hostname) root/etc/hostname root/etc/hosts || true") == ""
    assert system.read("/etc/hostname") == "small\n"
    factory = "root/usr/lib/atoll/factory/var"
    assert system.shell(f"find {factory}/log {factory}/cache {factory}/tmp -type f") == ""
    assert system.shell(f"ls {factory}/lib/systemd/random-seed 2>/dev/null || true") == ""


def test_state_is_seeded_by_tmpfiles(system: System) -> None:
    script = f"mkdir -p root/var/home root/var/root; chmod 700 root/var/root; {SEED};"
    script += "cd root/var; stat -c '%n %a %u' home/ann home/ann/.ssh home/ann/.ssh/authorized_keys"
    script += " root root/.ssh/authorized_keys; cat lib/misc/trap-state; readlink spool/mail"
    assert system.shell(script).splitlines() == [
        "home/ann 700 1234",
        "home/ann/.ssh 700 1234",
        "home/ann/.ssh/authorized_keys 600 1234",
        "root 700 0",
        "root/.ssh/authorized_keys 600 0",
        "starts so",
        "../mail",
    ]


def test_accounts_files_and_settings_are_the_recipes(system: System) -> None:
    shadow = dict(line.split(":", 1) for line in system.read("/etc/shadow").splitlines())
    assert shadow["ann"].startswith(HASH)
    assert shadow["root"].startswith(("*", "!"))
    assert system.shell("stat -c '%a %U:%G' root/etc/greeting.d/one") == "640 root:adm\n"
    assert system.shell("readlink root/etc/localtime") == "/usr/share/zoneinfo/Europe/Berlin\n"


def test_opt_keeps_its_bits(system: System) -> None:
    assert system.shell("stat -c %a root/opt/trap/bin/raise") == "4755\n"
    assert system.shell("cd root; ls usr/lib/opt").split() == ["trap"]
    assert system.shell("chroot root getcap /opt/trap/bin/ping").split()[1] == "cap_net_raw=ep"


def test_no_service_started_and_none_outlives_the_build(system: System) -> None:
    assert processes_in(system.store) == []


def test_a_build_under_other_circumstances_is_identical(system: System) -> None:
    done = build(system.folder, system.store, "--verify", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    verify = found["verify"]
    assert verify["identical"] is True, verify["differences"]
    assert verify["first"] == verify["second"]
    assert verify["second"]["tree"] == found["tree"] == system.tree
    assert verify["second"]["manifest"] == found["manifest"] == system.manifest
    assert "umask 077" in verify["changed"]
    assert leftovers(system.store) == []


def test_a_second_build_reuses_the_first(system: System) -> None:
    done = build(system.folder, system.store, "--json")
    assert json.loads(done.stdout)["tree"] == system.tree
    assert "Installing packages" not in done.stderr


def test_the_layout_holds_the_image(system: System, tmp_path: Path) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("needs skopeo")
    target = f"oci:{tmp_path}/layout:1"
    done = build(system.folder, system.store, "--output", target)
    assert done.returncode == 0, done.stderr
    said = subprocess.run([skopeo, "inspect", target], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout)["Digest"] == system.manifest


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        (PLAIN % '"systemd-sys"', 10, "has no package systemd-sys"),
        (PLAIN % '"systemd-sys"', 10, "did you mean systemd"),
        (PLAIN % '"./no.deb"', 2, "no.deb"),
        (PLAIN % '"./bad.deb"', 10, "bad.deb is not a Debian package"),
        (PLAIN % '"./fails.deb"', 10, "fails failed to install"),
        (PLAIN % '"systemd-sysv", "./tool/atoll.deb"', 2, "atoll-system is not installed"),
        (PLAIN % '"systemd-sysv", "./atoll.deb"', 2, "no kernel"),
        (RECIPE.replace("Europe/Berlin", "Europe/Nowhere"), 2, "time zone Europe/Nowhere is not"),
        (RECIPE.replace('disable = ["e2scrub_all', 'enable = ["nothing'), 2, "nothing.timer"),
        (RECIPE.replace('group = "adm"', 'group = "nobody-has-it"'), 2, "nobody-has-it"),
    ],
)
def test_a_recipe_that_cannot_be_built_changes_nothing(
    system: System, tmp_path: Path, text: str, code: int, words: str
) -> None:
    folder = write_recipe(tmp_path / "recipe", text.replace('"small"', '"other"', 1))
    for deb in system.folder.glob("*.deb"):
        shutil.copy(deb, folder)
    (folder / "bad.deb").write_text("not a package")
    standin.write_deb(folder / "tool", "atoll", {})
    standin.write_deb(folder, "fails", {}, postinst="#!/bin/sh\necho sorry; exit 3\n")
    done = build(folder, system.store)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not (system.store / "refs/other.json").exists()
    assert leftovers(system.store) == []


def test_without_a_network_it_says_so(system: System, tmp_path: Path) -> None:
    folder = tmp_path / "recipe"
    shutil.copytree(system.folder, folder, ignore=shutil.ignore_patterns("store", "view", "*-*"))
    (folder / "atoll.lock").unlink()
    done = build(folder, system.store, around=("unshare", "--net"))
    assert done.returncode == 5, done.stderr
    assert "cannot be reached" in done.stderr


def test_without_root_it_says_so() -> None:
    around = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    # A shell starts it: setpriv still has root's rights when it starts a program.
    probe = [*around, "sh", "-c", 'exec "$0" -c "import atoll.cli.main"', sys.executable]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    if subprocess.run(probe, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("nobody cannot read this Python or this checkout")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = write_recipe(Path(place) / "recipe", PLAIN % '"systemd-sysv"')
        for path in (Path(place), folder):
            shutil.chown(path, NOBODY, NOBODY)
        done = build(folder, Path(place) / "store", around=around)
    assert done.returncode == 3, done.stderr
    assert "needs root" in done.stderr


@pytest.mark.parametrize(
    "step",
    [
        "Choosing packages",
        "Making the first root",
        "Installing packages",
        "Assigning the ids",
        "Arranging the tree",
        "Adding the tree",
        "Making the initrd",
    ],
)
def test_an_interruption_leaves_nothing(system: System, tmp_path: Path, step: str) -> None:
    store = tmp_path / "store"
    copy_cache(system.store, store, "debs")
    folder = tmp_path / "recipe"
    shutil.copytree(system.folder, folder, ignore=shutil.ignore_patterns("store", "view", "*-*"))
    if step == "Choosing packages":
        (folder / "atoll.lock").unlink()
    if step not in ("Choosing packages", "Making the first root"):
        copy_cache(system.store, store, "apt", "roots")
    if step not in ("Choosing packages", "Making the first root", "Installing packages"):
        copy_cache(system.store, store, "steps")
    if step == "Assigning the ids":
        for kept in (store / "cache/steps").iterdir():
            if not (kept / "var/lib/dpkg/status").exists():
                shutil.rmtree(kept)
    # a shell gives what it starts in the background no SIGINT; a person at a terminal does
    words = [
        "env",
        "--default-signal=INT",
        sys.executable,
        "-m",
        "atoll.cli.main",
        "build",
        str(folder),
        "--store",
        str(store),
    ]
    with subprocess.Popen(
        words, env=os.environ | {"PYTHONPATH": str(SOURCE)}, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(step):
                break
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert not list((store / "refs").glob("*")) if (store / "refs").exists() else True
    assert processes_in(store) == []
    assert str(store) not in Path("/proc/mounts").read_text()
    assert leftovers(store) == []


def look(system: System, *words: str, code: int = 0) -> str:
    """What a verb that looks at the system prints."""
    argv = [sys.executable, "-m", "atoll", *words, "--quiet", "--store", str(system.store)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_validator_takes_the_sbom(system: System, tmp_path: Path) -> None:
    if importlib.util.find_spec("spdx_tools") is None:
        pytest.skip("needs spdx-tools")
    text = look(system, "sbom", "small")
    assert look(system, "sbom", system.tree) == text
    path = tmp_path / "small.spdx.json"
    path.write_text(text)
    words = [sys.executable, "-m", "spdx_tools.spdx.clitools.pyspdxtools", "-i", str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    packages = json.loads(text)["packages"][2:]  # after the image and its operating system
    listed = json.loads(system.read("/usr/lib/atoll/packages.json"))
    assert [[each["name"], each["versionInfo"]] for each in packages] == [
        each[:2] for each in sorted(listed)
    ]
    assert all(len(each["checksums"][0]["checksumValue"]) == 64 for each in packages)
    declared = {each["name"]: each["licenseDeclared"] for each in packages}
    assert declared["dash"] != "NOASSERTION"


def test_diff_sees_what_the_systems_own_programs_see(system: System, tmp_path: Path) -> None:
    dump = tmp_path / "empty.dump"
    dump.write_text("/ 4096 40755 2 0 0 0 0.0 - - -\n")
    empty = keep_dump(system, dump)
    found = json.loads(look(system, "diff", empty, "small", "--json"))
    told = {each["name"]: each["value"] for each in found["privileged"]["added"]}
    modes = system.shell("cd meta; find . -type f -perm /6000 -printf '/%P\\n'").split()
    capable = system.shell("getcap -r root/usr | sed 's:^root::'").splitlines()
    names = {line.split(" ")[0]: line.split(" ")[1] for line in capable}
    assert set(told) == {*modes, *names}
    for path, capabilities in names.items():
        assert told[path].startswith(capabilities)
    states = dict(
        line.split()[:2]
        for line in system.shell(
            "chroot root systemctl list-unit-files --root=/ --no-legend --no-pager"
        ).splitlines()
    )
    units = {each["name"]: each["value"] for each in found["units"]["added"]}
    for state in ("enabled", "masked"):
        assert {unit for unit, one in states.items() if one == state} == {
            unit
            for unit, one in units.items()
            if one == state and "(user)" not in unit and unit in states
        }
    assert look(system, "diff", "small", system.tree, code=77).endswith("identical\n")


def keep_dump(system: System, path: Path) -> str:
    """A tree that is a dump, in the system's store; its digest."""
    from atoll.store.layout import open_store
    from atoll.store.tree_images import write_image
    from atoll.tree.dumpfile import parse_dump

    with path.open("rb") as file:
        return write_image(open_store(system.store), parse_dump(file))


def leftovers(store: Path) -> list[str]:
    """What a build was at and has not taken away."""
    return [str(path) for path in (store / "cache").glob("**/.new-*")]


def processes_in(directory: Path) -> list[str]:
    """Processes whose root or working directory is below ``directory``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for link in ("root", "cwd"):
            try:
                place = str((process / link).readlink())
            except OSError:
                continue
            if place.startswith(str(directory)):
                found.append(f"{process.name} {place}")
    return found
