"""The words of ``atoll install --beside`` and ``--undo``, and their confirmation."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from atoll.base.errors import Refused, UsageError
from atoll.cli.install import add_arguments
from atoll.cli.install_beside import check_words, parse_items
from atoll.cli.typed_confirmation import confirm_change
from atoll.installer.beside.carry import Item


def arguments_of(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*words])


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (("store:hello", "--beside"), True),
        (("store:hello", "--beside", "--esp", "/dev/sda1", "--yes", "--without", "home"), True),
        (("--undo",), True),
        (("--undo", "--yes", "--json"), True),
        (("store:hello", "--disk", "/dev/sda"), False),
    ],
)
def test_what_is_asked_for(words: tuple[str, ...], chosen: bool) -> None:
    assert check_words(arguments_of(*words)) is chosen


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("x", "--beside", "--disk", "/dev/sda"), "--disk does not go with --beside"),
        (("x", "--beside", "--home", "/dev/sda3"), "--home does not go with --beside"),
        (("x", "--beside", "--answers", "a.toml"), "--answers does not go with --beside"),
        (("x", "--beside", "--yes-erase", "sda"), "--yes-erase does not go with --beside"),
        (("x", "--beside", "--into-directory"), "--into-directory does not go with --beside"),
        (("--beside", "--check"), "--check does not go with --beside"),
        (("--undo", "--root", "/mnt"), "--root does not go with --undo"),
        (("x", "--undo"), "--undo takes no other words"),
        (("--undo", "--beside"), "--undo takes no other words"),
        (("--undo", "--without", "home"), "--undo takes no other words"),
        (("x", "--disk", "/dev/sda", "--yes"), "--yes goes with --beside"),
        (("x", "--disk", "/dev/sda", "--without", "home"), "--without goes with --beside"),
    ],
)
def test_words_that_do_not_go_together(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_words(arguments_of(*words))


def test_items_are_named_one_by_one_or_with_commas() -> None:
    assert parse_items([]) == frozenset()
    assert parse_items(["home,users", "network"]) == {Item.HOME, Item.USERS, Item.NETWORK}
    with pytest.raises(UsageError, match="there is no hom to leave out") as caught:
        parse_items(["hom"])
    assert "machine-id" in str(caught.value.hint)


class Terminal(io.StringIO):
    def isatty(self) -> bool:  # type: ignore[explicit-override]
        return True


def test_only_yes_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    confirm_change("install it", yes=True)
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    confirm_change("install it", yes=False)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Type yes to install it, anything else to stop: ")
    for typed in ("y\n", "no\n", "\n", ""):
        monkeypatch.setattr(sys, "stdin", Terminal(typed))
        with pytest.raises(Refused, match="not confirmed"):
            confirm_change("install it", yes=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    with pytest.raises(Refused, match="no terminal") as caught:
        confirm_change("install it", yes=False)
    assert "--yes" in str(caught.value.hint)
