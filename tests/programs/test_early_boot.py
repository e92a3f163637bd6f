"""Early boot's shell: a cut after any command, and the next boot has the person's accounts.

The functions are the real ones (``early_boot``), run by both shells that an initrd may have.
"""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.machine.boot.boot_entries import MenuEntry, format_entry_list
from atoll.machine.boot.boot_entry import EntryName
from tests.programs.early_boot import KILLED, MODULE, SHELLS, TREE, Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PERSONS = {
    "passwd": "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n",
    "group": "root:x:0:\nann:x:1000:\n",
    "shadow": "root:*:1::::::\nann:$y$abc:1::::::\n",
    "hostname": "mine\n",
}
TREES = {
    "passwd": "root:x:0:0::/root:/bin/sh\n",
    "group": "root:x:0:\n",
    "shadow": "root:*:1::::::\n",
    "motd": "the image's\n",
}
WIPED = {"passwd": "", "group": "", "shadow": "", "note": "only copy\n"}
LATER = PERSONS | {"hostname": "renamed\n"}


@pytest.fixture(params=list(SHELLS))
def new_stand(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Stand]:
    if not Path(SHELLS[request.param][0]).exists():
        pytest.skip(f"needs {request.param}")
    count = iter(range(10_000))

    def make(more: str = "") -> Stand:
        stand = Stand(place=tmp_path / str(next(count)), shell=request.param, more=more)
        tree = stand.place / "tree"
        put(tree / "etc", TREES)
        put(tree / "usr/lib/atoll", {"tree-owned": ""})
        for name in ("home", "root", "srv", "mnt", "media", "opt", "var", "sysroot", "usr/local"):
            (tree / name).mkdir()
        put(stand.place / "disk/atoll/images", {TREE: "image"})
        (stand.state / "blessed").mkdir(parents=True)
        (stand.state / "blessed/1").touch()
        (stand.etc / "work").mkdir(parents=True)
        (stand.etc / "upper").mkdir()
        return stand

    return make


@pytest.fixture
def new_stick(new_stand: Callable[..., Stand]) -> Callable[[], Stand]:
    """A live system with a persistence partition, which is the directory ``changes``."""

    def make() -> Stand:
        stand = new_stand(" atoll.live=1 atoll.persistence=UUID=3-4")
        put(stand.place / "disk/atoll/objects", {"ab": "an object"})
        put(stand.place / "disk/atoll/refs", {"booted": "a ref"})
        put(stand.place / "disk/atoll/var/home", {})
        (stand.place / "changes").mkdir()
        return stand

    return make


def put(directory: Path, files: dict[str, str]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)


def content(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


def to_etc(stand: Stand) -> str:
    """Early boot without what comes before and after ``/etc``."""
    steps = (
        "read_command_line",
        "mount_state_partition",
        "verify_image",
        "mount_tree",
        "merge_etc_on_first_boot",
        "mount_etc",
        "report_failed_deployment",
    )
    return stand.early_boot("; ".join(steps))


def each_cut(
    new_stand: Callable[[], Stand], prepare: Callable[[Stand], None], run: Callable[[Stand], str]
) -> Iterator[Stand]:
    """A machine for each place where ``run`` can be cut, in the state that the cut leaves: after
    each program, and half way through those that take their time."""
    whole = new_stand()
    prepare(whole)
    done = whole.run(run(whole))
    assert done.returncode == 0, done.stderr
    programs = whole.programs_run()
    assert len(programs) > 3, "the shell does not run the stand-ins"
    half_ways = [number for number, name in enumerate(programs, 1) if name in ("cp", "rm")]
    for number, half in [
        *((n, False) for n in range(1, len(programs))),
        *((n, True) for n in half_ways),
    ]:
        stand = new_stand()
        prepare(stand)
        assert stand.run(run(stand), cut=number, half=half).returncode == KILLED
        yield stand
        shutil.rmtree(stand.place)


def boots_with(stand: Stand, *expected: dict[str, str]) -> dict[str, str]:
    """The next boot runs to its end, and what it shows in /etc is one of ``expected``."""
    done = stand.run(to_etc(stand))
    assert done.returncode == 0, done.stderr
    shown = content(stand.place / "sysroot/etc")
    assert shown in [TREES | each for each in expected], stand.place
    good = stand.etc / "good"
    assert not good.exists() or content(good) in expected
    return shown


def wiped(stand: Stand) -> None:
    put(stand.etc / "upper", WIPED)
    put(stand.etc / "good", PERSONS)


def test_a_wiped_etc_is_what_the_last_good_boot_had_after_a_cut_anywhere(
    new_stand: Callable[[], Stand],
) -> None:
    for stand in each_cut(new_stand, wiped, to_etc):
        boots_with(stand, PERSONS)
        kept = [content(path) for path in stand.etc.glob("broken-*")]
        assert kept == [WIPED], "what was there is kept, once"


@pytest.mark.parametrize("left", ["nothing", "an empty directory", "a file", "no accounts"])
def test_what_an_earlier_cut_or_damage_left_is_not_taken_for_a_system_without_accounts(
    new_stand: Callable[[], Stand], left: str
) -> None:
    def lost(stand: Stand) -> None:
        put(stand.etc / "good", PERSONS)
        if left != "an empty directory":
            (stand.etc / "upper").rmdir()
        if left == "a file":
            (stand.etc / "upper").write_text("?")
        elif left == "no accounts":
            put(stand.etc / "upper", {"hostname": "mine\n"})

    stand = new_stand()
    lost(stand)
    boots_with(stand, PERSONS)
    for stand in each_cut(new_stand, lost, to_etc):
        boots_with(stand, PERSONS)


UNCONVERTED = {
    "passwd": "root:$y$abc:0:0::/root:/bin/sh\nann:*:1000:1000::/home/ann:/bin/sh\n",
    "group": "root:x:0:\nann:x:1000:\n",
    "shadow": "",
    "hostname": "mine\n",
}
"""As pwunconv leaves it; that shadow is gone is a whiteout, which has no content either."""


@pytest.mark.parametrize("saved", [None, PERSONS, UNCONVERTED])
def test_passwords_in_passwd_are_accounts_too(
    new_stand: Callable[[], Stand], saved: dict[str, str] | None
) -> None:
    stand = new_stand()
    put(stand.etc / "upper", UNCONVERTED)
    if saved is not None:
        put(stand.etc / "good", saved)
    done = stand.run(to_etc(stand))
    assert done.returncode == 0, done.stderr
    assert content(stand.place / "sysroot/etc") == TREES | UNCONVERTED
    assert list(stand.etc.glob("broken-*")) == []


@pytest.mark.parametrize(
    "passwd", ["noise\n", "root:x:0:0::/root:/bin/sh\n", "root::0:0:::\n", "ann:*:1000:1000:::\n"]
)
def test_a_lost_shadow_is_lost_where_passwd_needs_it(
    new_stand: Callable[[], Stand], passwd: str
) -> None:
    stand = new_stand()
    put(stand.etc / "upper", UNCONVERTED | {"passwd": passwd})
    put(stand.etc / "good", PERSONS)
    boots_with(stand, PERSONS)


def test_a_first_boot_without_changes_is_none_of_that(new_stand: Callable[[], Stand]) -> None:
    stand = new_stand()
    boots_with(stand, {})
    assert not (stand.place / "run/atoll/notes").exists()


def save_good_etc(stand: Stand) -> str:
    """With the running system's /etc, as the service has it."""
    return stand.script("save-good-etc").replace('"/etc/', f'"{stand.place}/running/')


def kept_before(stand: Stand) -> None:
    put(stand.etc / "good", PERSONS)
    put(stand.etc / "upper", LATER)
    put(stand.place / "running", LATER)


def test_there_is_a_good_copy_after_a_cut_anywhere_in_save_good_etc(
    new_stand: Callable[[], Stand],
) -> None:
    for stand in each_cut(new_stand, kept_before, save_good_etc):
        shutil.rmtree(stand.etc / "upper")
        put(stand.etc / "upper", WIPED)
        boots_with(stand, PERSONS, LATER)


def test_save_good_etc_goes_on_where_a_cut_stopped_it(new_stand: Callable[[], Stand]) -> None:
    for stand in each_cut(new_stand, kept_before, save_good_etc):
        assert stand.run(save_good_etc(stand)).returncode == 0
        assert content(stand.etc / "good") == LATER
        assert {path.name for path in stand.etc.iterdir()} == {"good", "upper", "work"}


def test_a_copy_that_finds_no_room_gives_it_back(new_stand: Callable[[], Stand]) -> None:
    stand = new_stand()
    kept_before(stand)
    full = 'cp() { /usr/bin/cp "$@"; echo "cp: No space left on device" >&2; return 1; }\n'
    done = stand.run(full + save_good_etc(stand))
    assert done.returncode == 1 and "No space left" in done.stderr
    assert content(stand.etc / "good") == PERSONS
    assert {path.name for path in stand.etc.iterdir()} == {"good", "upper", "work"}


def test_an_etc_with_passwords_in_passwd_is_saved(new_stand: Callable[[], Stand]) -> None:
    stand = new_stand()
    put(stand.place / "running", UNCONVERTED)
    put(stand.etc / "upper", UNCONVERTED)
    assert stand.run(save_good_etc(stand)).returncode == 0
    assert content(stand.etc / "good") == UNCONVERTED


def test_a_broken_etc_never_replaces_the_good_copy(new_stand: Callable[[], Stand]) -> None:
    stand = new_stand()
    put(stand.etc / "good", PERSONS)
    put(stand.etc / "upper", WIPED)
    put(stand.place / "running", WIPED)
    done = stand.run(save_good_etc(stand))
    assert done.returncode == 1 and "passwd is missing or empty" in done.stderr
    assert content(stand.etc / "good") == PERSONS


def to_var(stand: Stand) -> str:
    return stand.early_boot(
        "read_command_line; mount_state_partition; verify_image; mount_tree; mount_var"
    )


def test_a_file_in_the_way_keeps_its_content_after_a_cut_anywhere(
    new_stand: Callable[[], Stand],
) -> None:
    def in_the_way(stand: Stand) -> None:
        put(stand.etc / "upper", PERSONS)
        put(stand.place / "disk/atoll/var", {"home": "a letter\n", "opt": "another\n"})

    for stand in each_cut(new_stand, in_the_way, to_var):
        assert stand.run(to_var(stand)).returncode == 0
        var = stand.place / "disk/atoll/var"
        assert (var / "home").is_dir() and (var / "opt").is_dir()
        assert (var / "home.displaced-1").read_text() == "a letter\n"
        assert (var / "opt.displaced-1").read_text() == "another\n"


def test_the_record_of_a_first_boot_is_gone_after_it_and_a_cut_repeats_it(
    new_stand: Callable[[], Stand],
) -> None:
    def staged(stand: Stand) -> None:
        put(stand.etc / "upper", PERSONS)
        (stand.etc / "merged-from").write_text("record")

    for stand in each_cut(new_stand, staged, to_etc):
        boots_with(stand, PERSONS)
        assert not (stand.etc / "merged-from").exists()


def test_the_machine_id_is_kept_whole_or_not_at_all(new_stand: Callable[[], Stand]) -> None:
    def script(stand: Stand) -> str:
        put(stand.place / "running", {"machine-id": "0" * 32 + "\n"})
        text = stand.script("save-machine-id")
        return text.replace("/etc/machine-id", f"{stand.place}/running/machine-id")

    for stand in each_cut(new_stand, lambda _: None, script):
        kept = stand.state / "machine-id"
        assert not kept.exists() or kept.read_text() == "0" * 32 + "\n"
        assert stand.run(script(stand)).returncode == 0
        assert kept.read_text() == "0" * 32 + "\n"


def test_a_request_for_the_fallback_says_why_or_does_nothing(
    new_stand: Callable[[], Stand],
) -> None:
    """A blessed deployment that is damaged: the words come first, and are dropped where they are
    not true."""

    def damaged(stand: Stand) -> None:
        put(stand.etc / "upper", PERSONS)
        put(stand.state, {"entries.json": entry_list(EntryName(sequence=2), EntryName(sequence=1))})
        (stand.place / "efi/efivars").mkdir(parents=True)

    call = 'read_command_line; mount_state_partition; request_fallback "it is damaged"'
    for stand in each_cut(new_stand, damaged, lambda stand: stand.early_boot(call)):
        boots_with(stand, PERSONS)
        assert not (stand.place / "run/atoll/notes").exists(), "this one runs after all"
        assert not (stand.state / "gave-way").exists()
    stand = new_stand()
    damaged(stand)
    assert stand.run(stand.early_boot(call)).returncode == 0
    (variable,) = (stand.place / "efi/efivars").iterdir()
    assert variable.read_bytes()[4:].decode("utf-16-le") == "atoll-2.conf\0"
    said = (stand.state / "gave-way").read_text()
    assert said.startswith("deployment 1 did not boot (it is damaged); deployment 2 runs")


def entry_list(*names: EntryName) -> str:
    """What Atoll notes of entries for deployments that have the entries' numbers."""
    entries = tuple(MenuEntry(name=name, deployment=name.sequence) for name in names)
    return format_entry_list(entries).decode()


def test_a_failed_boot_says_why_on_the_screen_and_to_the_next_command(
    new_stand: Callable[[], Stand],
) -> None:
    stand = new_stand()
    (stand.place / "disk/atoll/images" / TREE).unlink()
    assert stand.run(stand.early_boot()).returncode == 1
    why = f"the image of tree {TREE} is not there"
    assert (stand.place / "screen").read_text() == f"{why}\n"
    assert (stand.place / "run/atoll/failed").read_text() == f"{why}\n"


def to_live_state(stand: Stand) -> str:
    return stand.early_boot("read_command_line; mount_state_partition; verify_image")


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_persistence_partition_is_filled_whole_and_only_once(
    new_stick: Callable[[], Stand],
) -> None:
    for stand in each_cut(new_stick, lambda _: None, to_live_state):
        stick = files_below(stand.place / "disk")
        assert stand.run(to_live_state(stand)).returncode == 0
        changes = stand.place / "changes/atoll"
        assert (changes / "refs/booted").read_text() == "a ref"
        assert (changes / "state/blessed/1").exists()
        assert (changes / "deployments/1/etc/upper").is_dir()
        assert stat.S_IMODE(changes.stat().st_mode) == 0o700
        assert {path.name for path in changes.parent.iterdir()} == {"atoll"}
        (changes / "refs/booted").write_text("mine")
        assert stand.run(to_live_state(stand)).returncode == 0
        assert (changes / "refs/booted").read_text() == "mine"
        assert files_below(stand.place / "disk") == stick


@pytest.mark.parametrize("gone", [True, False])
def test_a_live_system_comes_up_without_its_persistence_partition(
    new_stick: Callable[[], Stand], gone: bool
) -> None:
    stand = new_stick()
    if gone:
        (stand.place / "changes").rmdir()
    else:
        (stand.place / "bad").touch()
    done = stand.run(stand.early_boot("read_command_line; mount_state_partition"))
    assert done.returncode == 0, done.stderr
    assert (stand.place / "run/atoll/notes").read_text() == (
        "the persistence partition cannot be mounted: what is changed now is lost at shutdown\n"
    )


def test_a_word_of_live_systems_that_is_unknown_fails(new_stand: Callable[..., Stand]) -> None:
    stand = new_stand(" atoll.live=2")
    done = stand.run(stand.early_boot("read_command_line"))
    assert done.returncode == 1
    assert "atoll.live=2 on the kernel command line is unknown" in done.stderr


STATE = "atoll-early-boot.service.d/state.conf"
CHANGES = "atoll-early-boot.service.d/persistence.conf"


@pytest.mark.parametrize(
    ("more", "files", "is_checked"),
    [
        ("", {STATE}, True),
        (" atoll.live=1", {STATE}, False),
        (
            " atoll.live=1 atoll.persistence=UUID=3-4",
            {STATE, CHANGES, "dev-disk-by-uuid-3-4.device.d/atoll.conf"},
            False,
        ),
    ],
)
def test_early_boot_waits_for_its_partitions_and_checks_only_what_it_writes_to(
    new_stand: Callable[..., Stand], more: str, files: set[str], is_checked: bool
) -> None:
    stand = new_stand(more)
    stand.early_boot()
    text = (MODULE / "early-boot-generator.sh").read_text()
    for before, after in (
        ("systemd-escape --path", "escape_path"),
        ("/usr/lib/atoll/early-boot.d", str(MODULE / "early-boot.d")),
    ):
        text = text.replace(before, after)
    escape = 'escape_path() { echo "${1#/}" | tr / -; }\n'
    program = stand.place / "generator"
    source = f". {MODULE / 'early-boot.d'}/command-line.sh\n"
    whole = (MODULE / "early-boot.d/command-line.sh").read_text()
    whole = whole.replace("/proc/cmdline", str(stand.place / "cmdline"))
    assert source in text
    program.write_text(escape + text.replace(source, whole))
    late = stand.place / "late"
    words = [*SHELLS[stand.shell], str(program), str(late)]
    subprocess.run(words, check=True)
    there = {str(path.relative_to(late)) for path in late.rglob("*") if path.is_file()}
    assert there == files
    state = (late / STATE).read_text()
    assert "BindsTo=dev-disk-by-uuid-1-2.device" in state
    assert ("systemd-fsck@" in state) is is_checked
    if CHANGES in files:
        changes = (late / CHANGES).read_text()
        assert "Wants=dev-disk-by-uuid-3-4.device" in changes
        assert "Requires" not in changes and "BindsTo" not in changes
