"""FAT volumes of mkfs.vfat and mtools, whole and damaged, with fsck.fat as the judge."""

from __future__ import annotations

import gzip
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.base.errors import Refused
from atoll.host.run import find_program, run
from atoll.machine.boot.esp_check import check_esp, read_volume
from atoll.tree.fat import files, parse_volume
from atoll.tree.fat_format import BAD, LAST
from tests.programs.fat_volumes import CONTENT, PROGRAMS, SHAPES, make_volume
from tests.unit.tree import fat_damage
from tests.unit.tree.fat_damage import COUNTED, DAMAGES, ENTRY, GOLDEN, KERNEL, Editable, golden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

missing = [name for name in PROGRAMS if find_program(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not here: {', '.join(missing)}")

MIB = 1 << 20


def judged(source: Path) -> str:
    """What fsck.fat has to say of a volume; nothing for a sound one."""
    fsck = find_program("fsck.fat")
    assert fsck is not None
    done = subprocess.run([fsck, "-n", source], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize(
    ("bits", "size", "per_cluster"),
    [(12, MIB, 1), (12, 8 * MIB, 8), (16, 32 * MIB, 4), (32, 512 * MIB, 8), (32, 300 * MIB, 4)],
)
def test_what_mtools_put_there_is_read(
    tmp_path: Path, bits: int, size: int, per_cluster: int
) -> None:
    source = tmp_path / "esp.fat"
    make_volume(source, bits=bits, size=size, per_cluster=per_cluster)
    volume = read_volume(source)
    assert volume.geometry.bits == bits
    assert {p: i.size for p, i in files(volume) if not i.is_directory} == CONTENT
    data = source.read_bytes()
    for path, item in files(volume):
        places = [volume.geometry.offset_of(cluster) for cluster in item.chain]
        content = b"".join(data[at : at + volume.geometry.cluster_size] for at in places)
        if not item.is_directory:
            assert content[: item.size] == path.encode()[:1] * item.size
    assert volume.findings == ()
    assert judged(source) == ""


@pytest.mark.parametrize("bits", SHAPES)
def test_the_recorded_volumes_are_still_what_mtools_makes(tmp_path: Path, bits: int) -> None:
    make_volume(tmp_path / "fresh", bits=bits, size=SHAPES[bits])
    recorded = gzip.decompress((GOLDEN / f"fat{bits}.gz").read_bytes())
    old = parse_volume(lambda offset, size: recorded[offset : offset + size])
    new = read_volume(tmp_path / "fresh")
    assert old.geometry == new.geometry
    assert {p: i.size for p, i in files(old)} == {p: i.size for p, i in files(new)}


WORDS: Mapping[Callable[[Editable], None], str] = {
    fat_damage.renamed_by_half: "share clusters",
    fat_damage.renamed_past_the_end: "share clusters",
    fat_damage.on_the_chain_of_another: "share clusters",
    fat_damage.into_the_chain_of_another: "share clusters",
    fat_damage.freed: "free cluster",
    fat_damage.half_freed: "free cluster",
    fat_damage.into_bad: "bad cluster",
    fat_damage.circle: "Circular cluster chain",
    fat_damage.half_written: "cluster chain length is",
    fat_damage.smaller_than_its_chain: "cluster chain length is",
    fat_damage.forgotten: "Reclaimed",
    fat_damage.copies_differ: "FATs differ",
}
"""What fsck.fat calls it."""


@pytest.mark.parametrize("bits", SHAPES)
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_the_judge_finds_the_same_damage(
    tmp_path: Path, bits: int, damage: Callable[[Editable], None]
) -> None:
    edited = Editable(golden(bits))
    damage(edited)
    source = tmp_path / "esp.fat"
    source.write_bytes(edited.data)
    verdict = judged(source)
    assert verdict
    assert WORDS.get(damage, "") in verdict


@settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    links=st.lists(
        st.tuples(st.integers(2, 45), st.sampled_from([0, 1, BAD, LAST, 9000, *range(2, 46)])),
        max_size=4,
    ),
    sizes=st.lists(st.sampled_from([0, 1, 512, 513, 5000, 100_000]), max_size=1),
    seconds=st.lists(st.tuples(st.sampled_from([ENTRY, KERNEL]), st.integers(2, 60)), max_size=1),
)
def test_there_is_something_wrong_when_the_judge_says_so(
    tmp_path: Path,
    links: list[tuple[int, int]],
    sizes: list[int],
    seconds: list[tuple[str, int]],
) -> None:
    edited = Editable(golden(16))
    for size in sizes:
        edited.set_size(COUNTED, size)
    for path, first in seconds:
        edited.set_first(path, first)
    for cluster, following in links:
        edited.set_next(cluster, following)
    source = tmp_path / "esp.fat"
    source.write_bytes(edited.data)
    assert bool(edited.parsed().findings) == bool(judged(source))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A damaged volume, mounted by a loop device."""
    edited = Editable(golden(32))
    fat_damage.renamed_by_half(edited)
    source, point = tmp_path / "esp.fat", tmp_path / "a place"
    source.write_bytes(edited.data)
    point.mkdir()
    done = subprocess.run(
        ["mount", "-t", "vfat", "-o", "loop", source, point], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop mount here: {done.stderr.decode().strip()}")
    yield point
    run(["umount", point])


@pytest.mark.root
def test_the_device_of_a_mounted_esp_is_found_and_read(mounted: Path) -> None:
    fresh = mounted / "loader/entries/atoll-3+3.conf"
    fresh.write_bytes(b"just written" * 100)
    listed = set((mounted / "loader/entries").iterdir())
    check = check_esp(mounted, listed)
    assert check.device is not None
    assert check.safe == {mounted / ENTRY, fresh}
    assert set(check.unsafe) == listed - check.safe
    with pytest.raises(Refused):
        check.require_safe(mounted / COUNTED)
    assert check_esp(mounted / "loader", [mounted / "loader/loader.conf"]).safe


@pytest.mark.root
def test_what_is_called_safe_can_be_unlinked_without_harm(mounted: Path) -> None:
    paths = [mounted / name for name in CONTENT]
    check = check_esp(mounted, paths)
    assert check.safe
    for path in check.safe:
        path.unlink()
    os.sync()
    after = check_esp(mounted, [mounted / COUNTED])
    assert after.findings == check.findings
    assert (mounted / COUNTED).read_bytes() == b"l" * CONTENT[COUNTED]
