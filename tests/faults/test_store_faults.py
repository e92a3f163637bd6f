"""An import that stops before any one of its effects leaves a valid store and no lasting leftovers.

A child process runs the import with an audit hook, which sees every effect before it happens, and
there ends the process (as a power cut would), or raises what a full disk or Ctrl-C raises.
"""

from __future__ import annotations

import errno
import itertools
import os
import sys
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NoSpace
from atoll.base.report import NullReporter
from atoll.store.check import check_store
from atoll.store.layout import Store, open_store
from atoll.store.refs import Ref, list_refs, write_ref
from atoll.store.scan import import_directory
from atoll.store.tree_images import read_image, write_image
from tests.faults.effects import is_effect, makes_something

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.effects import IsEffect

MOST = 400
CUT, INTERRUPTED = 77, 130


def work(store: Store, root: Path) -> None:
    name = write_image(store, import_directory(store, root, NullReporter()))
    write_ref(store, "it", Ref(tree=name, name="it", version="1", created=0))


def run_child(store: Store, root: Path, hook: Callable[[str, tuple[object, ...]], None]) -> int:
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        sys.addaudithook(hook)
        work(store, root)
        os._exit(0)
    except NoSpace as error:
        os._exit(error.exit_code)
    except KeyboardInterrupt:
        os._exit(INTERRUPTED)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)


def stop_at(
    number: int, stop: Callable[[], None], counts: IsEffect = is_effect
) -> Callable[[str, tuple[object, ...]], None]:
    numbers = itertools.count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if counts(event, arguments) and next(numbers) == number:
            stop()

    return hook


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    for number in range(3):
        (root / "sub" / str(number)).write_bytes(bytes([number]) * 100)
    (root / "large").write_bytes(b"l" * 1_100_000)
    return root


def is_valid(store: Store, *, complete: bool) -> None:
    assert check_store(store, NullReporter()) == ()
    refs = list_refs(store)
    if complete:
        assert [name for name, _ in refs] == ["it"]
    for _, ref in refs:
        read_image(store, ref.tree)


def cut() -> None:
    os._exit(CUT)


def test_a_cut_before_any_effect_leaves_a_valid_store(tmp_path: Path, root: Path) -> None:
    for number in range(MOST):
        store = open_store(tmp_path / f"store-{number}", create=True)
        status = run_child(store, root, stop_at(number, cut))
        is_valid(store, complete=status == 0)
        work(store, root)
        is_valid(store, complete=True)
        assert not any(store.staging.iterdir()), f"leftovers after a cut before effect {number}"
        if status == 0:
            assert number > 20, "the effects were not seen"
            return
        assert status == CUT
    pytest.fail("the import never ends")


def raise_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def raise_interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("stop", "expected"), [(raise_full, NoSpace.exit_code), (raise_interrupt, INTERRUPTED)]
)
def test_an_error_at_any_effect_gives_the_space_back(
    tmp_path: Path, root: Path, stop: Callable[[], None], expected: int
) -> None:
    for number in range(MOST):
        store = open_store(tmp_path / f"store-{number}", create=True)
        status = run_child(store, root, stop_at(number, stop, makes_something))
        assert not any(store.staging.iterdir()), f"leftovers after an error at effect {number}"
        is_valid(store, complete=status == 0)
        if status == 0:
            assert number > 20, "the effects were not seen"
            return
        assert status == expected
    pytest.fail("the import never ends")


def test_objects_are_durable_before_they_have_names(tmp_path: Path, root: Path) -> None:
    store = open_store(tmp_path / "store", create=True)
    log = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event == "ctypes.dlopen":
            os.write(log, b"sync\n")
        elif event == "os.rename" and str(arguments[1]).startswith(str(store.objects)):
            os.write(log, b"name\n")

    assert run_child(store, root, hook) == 0
    assert (tmp_path / "log").read_text().split() == ["sync", *["name"] * 4, "sync"]
