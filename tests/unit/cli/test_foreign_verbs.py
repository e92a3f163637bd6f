"""What somebody is told who types a verb of another tool, one that is not there yet, or a typo."""

from __future__ import annotations

import re
import string

import pytest

from atoll import __version__
from atoll.base.suggest import edit_distance
from atoll.cli.foreign_verbs import ELSEWHERE, NOT_YET, OURS
from atoll.cli.main import VERBS, main
from atoll.recipe.language import foreign_keys
from atoll.recipe.language.explain import find_topic

NAMES = {verb.name for verb in VERBS}
STRANGE = """
    apple banana zebra hello world foo bar qwerty xyzzy asdf dnf yum apk brew cargo npm pip git
    unlock unblock flock crash mask umask screen printer music open close grow shrink move rename
    fast slow yes no maybe kernel user users group package grub efi secureboot wifi network disk1
    sdb sda nvme0n1 usb stick hello.img atoll.toml examples/hello oci:hello:1 store:hello docker://x
    debian trixie bookworm sid ubuntu fedora nixos silverblue kinoite bazzite gnome kde sway steam
"""


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("atoll: ")
    assert len(err.splitlines()) == 2
    return err


def test_the_tables_name_verbs_that_are_there_and_only_those() -> None:
    """One table: a verb that is made is taken out of it, and none is in it twice."""
    for table in (OURS, NOT_YET, ELSEWHERE):
        assert not table.keys() & NAMES
    assert not OURS.keys() & (NOT_YET.keys() | ELSEWHERE.keys())
    assert not NOT_YET.keys() & ELSEWHERE.keys()
    assert set(OURS.values()) <= NAMES | NOT_YET.keys()
    for text in (*NOT_YET.values(), *ELSEWHERE.values()):
        assert set(re.findall(r"\batoll ([a-z][a-z-]+)", text)) <= NAMES, text
        assert len(text) <= 78, text


@pytest.mark.parametrize("word", [*OURS, *NOT_YET, *ELSEWHERE])
def test_a_known_word_is_answered_with_what_to_do(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    err = told(capsys, word, "htop")
    assert "did you mean" not in err
    assert "atoll --help" not in err or word == "how"
    ours = OURS.get(word, word)
    if ours in NAMES:
        assert f"Atoll calls it {ours}" in err
        assert f"atoll {ours} --help" in err
    elif word not in ELSEWHERE:
        assert "not implemented yet" in err
        assert NOT_YET[ours] in err


@pytest.mark.parametrize("word", STRANGE.split())
def test_a_strange_word_is_not_taken_for_a_verb(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = re.search(r"did you mean: atoll (\S+)", told(capsys, word))
    near = {OURS.get(name, name) for name in (*OURS, *NAMES) if edit_distance(word, name) <= 2}
    assert found is None or found[1] in near


@pytest.mark.parametrize("word", ["unlock", "fast", "kernel", "user", "package", "zebra"])
def test_a_strange_word_gets_no_suggestion(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in told(capsys, word)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_typo_of_a_verb_finds_it_or_one_as_near(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in range(1, len(name)):
        before, after = name[:place], name[place:]
        typos = {before + after[1:], before[:-1] + after[0] + before[-1] + after[1:]}
        typos |= {before + letter + after for letter in string.ascii_lowercase[::5]}
        for typo in typos - NAMES - OURS.keys() - NOT_YET.keys() - ELSEWHERE.keys():
            if len(typo) > 2:
                err = told(capsys, typo)
                assert "see: atoll --help" not in err or len(name) < 5


@pytest.mark.parametrize("words", [["-v"], ["-V"], ["--version"], ["version"]])
def test_every_usual_word_gives_the_version(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"atoll {__version__}\n"


def test_an_option_with_nothing_in_common_is_not_suggested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "did you mean" not in told(capsys, "build", "--fast")
    assert "did you mean: --store" in told(capsys, "build", "--stor=x")


def test_foreign_words_for_keys_name_keys_that_are_there() -> None:
    for word, ours in foreign_keys.EQUIVALENTS.items():
        assert find_topic(ours), word
    assert not foreign_keys.EQUIVALENTS.keys() & foreign_keys.ADVICE.keys()
