"""Steps over one another in real overlays: what is done again, what is kept, what is left."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import PackageError
from atoll.base.report import NullReporter
from atoll.builder.cache import opened_cache
from atoll.builder.steps.step_cache import Chain, chain_id, chain_mounted, run_steps
from atoll.host.mount import enter_private_mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@dataclass(frozen=True, kw_only=True)
class Write:
    """A step that writes one file (``-`` removes it), and tells ``done`` that it ran."""

    name: str
    text: str
    ends: str = ""
    done: list[str] = field(default_factory=list, compare=False)

    @property
    def title(self) -> str:
        return f"Writing {self.name}"

    def parts(self) -> tuple[str, ...]:
        return (self.name, self.text)

    def execute(self, root: Path, workspace: Path) -> None:
        assert workspace.is_dir()
        assert root not in workspace.parents
        self.done.append(self.name)
        if self.text == "-":
            path = root / self.name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif self.text:
            (root / self.name).parent.mkdir(exist_ok=True)
            (root / self.name).write_text(self.text)
        (workspace / "left").write_text("left")
        if self.ends == "kill":
            os._exit(77)
        if self.ends == "error":
            raise PackageError("no")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A cache with a start; what is mounted goes with the process that the test forks."""
    (tmp_path / "cache/roots/start/etc").mkdir(parents=True)
    (tmp_path / "cache/roots/start/etc/old").write_text("old")
    yield tmp_path
    assert str(tmp_path) not in (tmp_path / "/proc/mounts").read_text()


def build(folder: Path, steps: tuple[Write, ...]) -> dict[str, str]:
    """Run the steps; what the root holds then. Ends with nothing mounted."""
    with opened_cache(folder / "cache") as cache:
        start = Chain(cache=cache, id="start", layers=(cache.root / "roots/start",))
        chain = run_steps(start, steps, NullReporter())
        assert chain.id == chain_id("start", steps)
        with chain_mounted(chain) as root:
            return {
                str(path.relative_to(root)): path.read_text()
                for path in sorted(root.rglob("*"))
                if path.is_file()
            }


def in_child(work: Callable[[], object]) -> int:
    """Do ``work`` in a process with mounts of its own; its exit status."""

    def run() -> None:
        enter_private_mounts()
        work()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join()
    return process.exitcode or 0


def three(done: list[str]) -> tuple[Write, ...]:
    return tuple(Write(name=f"etc/{name}", text=name, done=done) for name in ("a", "b", "c"))


def test_only_what_changed_and_what_follows_runs_again(folder: Path) -> None:
    def work() -> None:
        done: list[str] = []
        steps = three(done)
        everything = {"etc/a": "a", "etc/b": "b", "etc/c": "c", "etc/old": "old"}
        assert build(folder, steps) == everything
        assert done == ["etc/a", "etc/b", "etc/c"]
        done.clear()
        assert build(folder, steps) == everything
        assert done == []
        changed = (*steps[:2], replace(steps[2], text="C"))
        assert build(folder, changed)["etc/c"] == "C"
        assert done == ["etc/c"]
        done.clear()
        assert build(folder, (replace(steps[0], text="A"), *steps[1:]))["etc/a"] == "A"
        assert done == ["etc/a", "etc/b", "etc/c"]
        done.clear()
        assert build(folder, steps) == everything
        assert done == []

    assert in_child(work) == 0


def test_a_step_that_changes_nothing_is_no_layer(folder: Path) -> None:
    def work() -> None:
        done: list[str] = []
        steps = tuple(Write(name=f"nothing-{number}", text="", done=done) for number in range(40))
        assert build(folder, steps) == {"etc/old": "old"}
        assert len(done) == 40
        with opened_cache(folder / "cache") as cache:
            start = Chain(cache=cache, id="start", layers=(cache.root / "roots/start",))
            assert run_steps(start, steps, NullReporter()).layers == start.layers
        assert len(done) == 40

    assert in_child(work) == 0


def test_many_steps_fit_into_one_stack(folder: Path) -> None:
    def work() -> None:
        steps = tuple(Write(name=f"etc/{number:02}", text="x") for number in range(40))
        assert len(build(folder, steps)) == 41
        gone = (*steps, Write(name="etc", text="-"), Write(name="etc/new", text="new"))
        assert build(folder, gone) == {"etc/new": "new"}

    assert in_child(work) == 0


@pytest.mark.parametrize("how", ["error", "kill"])
def test_what_breaks_off_leaves_nothing_and_is_done_again(folder: Path, how: str) -> None:
    def work() -> None:
        steps = three([])
        build(folder, (steps[0], replace(steps[1], ends=how), steps[2]))

    assert in_child(work) == (77 if how == "kill" else 1)

    def again() -> None:
        done: list[str] = []
        assert len(build(folder, three(done))) == 4
        assert done == ["etc/b", "etc/c"]
        assert not list((folder / "cache").glob("**/.new-*"))

    assert in_child(again) == 0


def test_two_variants_of_many_steps_stay_cached(folder: Path) -> None:
    def work() -> None:
        done: list[str] = []
        common = tuple(Write(name=f"etc/{n}", text="x", done=done) for n in range(8))
        for variant in ("gnome", "kde", "gnome", "kde"):
            more = tuple(Write(name=f"etc/{n}", text=variant, done=done) for n in range(8, 20))
            build(folder, (*common, *more))
        assert len(done) == 8 + 2 * 12

    assert in_child(work) == 0
