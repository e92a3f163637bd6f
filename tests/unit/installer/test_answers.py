"""An answers file: what is right is taken, what is wrong is told with its line, secrets never."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.base.errors import NotFound, RecipeError
from atoll.installer.answers.documents import format_json_schema, format_markdown
from atoll.installer.answers.format import format_answers
from atoll.installer.answers.parse import (
    Answers,
    EncryptionAnswer,
    TargetAnswer,
    parse_answers,
    read_answers,
    read_passphrase,
)
from atoll.installer.settings.settings import (
    AddressSettings,
    Settings,
    UserSettings,
    WifiSettings,
)
from atoll.machine.keyboard import KeyboardLayout

TOP = Path(__file__).parents[3]
PAGE = (TOP / "docs" / "reference" / "answers.md").read_text()
HASH = f"$6$atollsalt${'x' * 86}"
YESCRYPT = f"$y$j9T$abcdefgh${'y' * 43}"
LEAST = f"""schema = 1
[target]
disk = "/dev/vda"
erase = true
[user]
name = "ada"
password = "{HASH}"
"""


def answers_of(text: str) -> Answers:
    answers, problems = parse_answers(text, file="a.toml")
    assert not problems
    assert answers is not None
    return answers


def problem_of(text: str) -> RecipeError:
    answers, problems = parse_answers(text, file="a.toml")
    assert answers is None
    assert len(problems) == 1, [str(each) for each in problems]
    return problems[0]


def test_the_least() -> None:
    answers = answers_of(LEAST)
    assert answers.target == TargetAnswer(kind="disk", device="/dev/vda")
    assert answers.settings == Settings(user=UserSettings(name="ada", password=HASH))
    assert answers.encryption is None


def test_the_page_shows_one_that_is_right(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    for name in ("passphrase", "wifi-passphrase"):
        (tmp_path / name).write_text("a long enough secret\nanother line\n")
    (tmp_path / "answers.toml").write_text(text)
    answers = read_answers(tmp_path / "answers.toml")
    assert answers.settings.hostname == "reef"
    assert answers.settings.keyboard == KeyboardLayout(layout="de", variant="nodeadkeys")
    assert answers.settings.wifi == WifiSettings(ssid="reef", passphrase="a long enough secret")
    assert read_passphrase(tmp_path / "answers.toml", answers) == "a long enough secret"


def test_the_page_is_current() -> None:
    assert PAGE.endswith(f"-->\n\n{format_markdown()}"), (
        "write the output of atoll explain --answers --markdown below the mark in"
        " docs/reference/answers.md"
    )


def test_the_schema_for_editors_is_current() -> None:
    file = TOP / "docs" / "reference" / "answers.schema.json"
    assert file.read_text() == format_json_schema(), (
        "write the output of atoll explain --answers --json-schema to"
        " docs/reference/answers.schema.json"
    )
    schema = json.loads(file.read_text())
    assert schema["properties"]["user"]["required"] == ["name", "password"]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("old", "new", "where", "hint"),
    [
        ("name =", "nmae =", "a.toml:6: user.nmae: unknown key", "did you mean: name"),
        ("disk =", "disc =", "a.toml:3: target.disc: unknown key", "did you mean: disk"),
        ('"/dev/vda"', '"vda"', "a.toml:3: target.disk: 'vda' is not a device", "lsblk"),
        ("erase = true\n", "", "a.toml:2: target.erase: is missing", "erase = true"),
        ("erase = true", "erase = false", "a.toml:4: target.erase: is missing", "erase = true"),
        ("disk =", "free_space =", "a.toml:4: target.erase: nothing is erased", "leave it out"),
        ("erase = true", 'esp = "/dev/a"\nerase = true', "a.toml:4: target.esp: a whole", "out"),
        ('"ada"', '"Ada"', "a.toml:6: user.name: 'Ada' cannot name", "small letters"),
        ('"ada"', '"root"', "a.toml:6: user.name: root", "choose another"),
        (HASH, "pa55w0rd", "a.toml:7: user.password: is not a hash", "mkpasswd"),
        (HASH, "$1$salt$abcdefghijklmnopqrstuv", "is a hash of another kind ($1$)", "mkpasswd"),
        ("schema = 1", "schema = 2", "a.toml:1: schema: this Atoll reads schema 1", "newer"),
        ("schema = 1\n", "", "schema: is missing", "schema = 1"),
        ('"ada"\n', '"ada"\nkeymap = "de"\n', "user.keymap: unknown key", "[keyboard] layout"),
        ('"ada"\n', '"ada"\npsk = "de"\n', "user.psk: unknown key", "passphrase_file"),
        ('"ada"\n', '"ada"\ntimezone = "UTC"\n', "unknown key", "did you mean: [system] timezone"),
        ('"ada"\n', '"ada"\nuid = 999\n', "user.uid: must be at least 1000", None),
        ('"ada"\n', "ada\n", "is not TOML: Invalid value", "quotes"),
        ('"ada"', '"ada', "a.toml:6: is not TOML", None),
    ],
)
def test_what_is_wrong_is_told_with_line_and_remedy(
    old: str, new: str, where: str, hint: str | None
) -> None:
    _, problems = parse_answers(LEAST.replace(old, new, 1), file="a.toml")
    (error,) = (each for each in problems if where in each.message)
    assert hint is None or hint in (error.hint or "")
    assert "pa55w0rd" not in "".join(f"{each.message}{each.hint}" for each in problems)


def test_two_targets_and_none() -> None:
    both = LEAST.replace("erase", 'partition = "/dev/vda2"\nerase')
    assert "target: has disk and partition" in problem_of(both).message
    none = LEAST.replace('disk = "/dev/vda"\n', "").replace("erase = true\n", "")
    assert "target: names no disk" in problem_of(none).message


def test_without_a_target_the_command_line_says_it() -> None:
    assert (
        answers_of(LEAST.replace(LEAST[LEAST.index("[t") : LEAST.index("[u")], "")).target is None
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('[keyboard]\nlayout = "us"\nvariant = "a,b"\n', "2 variants of 1 layouts"),
        ("[keyboard]\n", "keyboard.layout: is missing"),
        ('[keyboard]\nlayout = "us"\noptions = "caps"\n', "keyboard.options: 'caps'"),
        ("[encryption]\n", "encryption.passphrase_file: is missing"),
        ('[encryption]\npassphrase = "pa55w0rd"\n', "encryption.passphrase: unknown key"),
        ('[network]\nssid = "x"\n', "network.ssid: unknown key"),
        ("[network.wifi]\n", "network.wifi.ssid: is missing"),
        (f'[network.wifi]\nssid = "{"x" * 33}"\n', "network.wifi.ssid:"),
        ('[network.address]\ninterface = "e"\naddress = "192.0.2.7"\n', "with a prefix length"),
        ('[network.address]\ninterface = "e e"\naddress = "192.0.2.7/24"\n', "not a network inter"),
        ('[system]\ntimezone = "../etc"\n', "system.timezone"),
        ('[system]\nlocale = "deutsch"\n', "system.locale"),
        ('[system]\nhostname = "-"\n', "system.hostname"),
    ],
)
def test_further_tables(text: str, where: str) -> None:
    _, problems = parse_answers(LEAST + text, file="a.toml")
    assert any(where in each.message for each in problems)
    assert "pa55w0rd" not in "".join(f"{each.message}{each.hint}" for each in problems)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "answers.toml"
    file.write_text(LEAST.replace("name =", "nmae =").replace("erase = true\n", ""))
    with pytest.raises(RecipeError) as caught:
        read_answers(file)
    assert "erase: is missing" in caught.value.message
    assert "nmae: unknown key" in (caught.value.hint or "")
    assert "user.name: is missing" in (caught.value.hint or "")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "answers.toml").write_text(LEAST)
    with pytest.raises(NotFound) as caught:
        read_answers(tmp_path / "anwsers.toml")
    assert "answers.toml" in (caught.value.hint or "")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="not UTF-8"):
        read_answers(tmp_path / "a")


class TestSecrets:
    def encrypted(self, tmp_path: Path, name: str = "passphrase") -> tuple[Path, Answers]:
        file = tmp_path / "answers.toml"
        file.write_text(f'{LEAST}[encryption]\npassphrase_file = "{name}"\n')
        return file, read_answers(file)

    @pytest.mark.parametrize(
        "content", [b"correct horse\n", b"correct horse", b"correct horse\r\n"]
    )
    def test_the_first_line(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "passphrase").write_bytes(content)
        assert read_passphrase(*self.encrypted(tmp_path)) == "correct horse"

    def test_a_descriptor(self, tmp_path: Path) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"correct horse\n")
        os.close(writer)
        try:
            file, answers = self.encrypted(tmp_path, f"/dev/fd/{reader}")
            assert read_passphrase(file, answers) == "correct horse"
        finally:
            os.close(reader)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"\n", "fewer than 8"),
            (b"7 chars\n", "fewer than 8"),
            (b"tab\tulator\n", "control characters"),
            (b"\xff" * 10, "not UTF-8"),
            (b"x" * 5000, "over 4096 bytes"),
        ],
    )
    def test_no_passphrase_and_never_shown(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        (tmp_path / "passphrase").write_bytes(content)
        with pytest.raises(RecipeError, match=message) as caught:
            read_passphrase(*self.encrypted(tmp_path))
        assert "7 chars" not in f"{caught.value}{caught.value.hint}"

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(RecipeError, match="No such file") as caught:
            read_passphrase(*self.encrypted(tmp_path))
        assert str(tmp_path / "passphrase") in (caught.value.hint or "")

    def test_no_secret_is_in_what_is_logged(self) -> None:
        settings = Settings(
            user=UserSettings(name="ada", password=HASH),
            wifi=WifiSettings(ssid="reef", passphrase="geheimnis"),
        )
        assert HASH not in repr(settings)
        assert "geheimnis" not in repr(settings)


WORDS = st.text(st.characters(blacklist_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NAMES = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
ADDRESSES = st.ip_addresses().map(str)
SETTINGS = st.builds(
    Settings,
    user=st.builds(
        UserSettings,
        name=NAMES.map("u{}".format),
        password=st.sampled_from([HASH, YESCRYPT]),
        gecos=WORDS.filter(lambda text: ":" not in text),
        groups=st.none() | st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple),
        uid=st.none() | st.integers(1000, 59999),
    ),
    hostname=st.none() | NAMES,
    locale=st.none() | st.just("de_DE.UTF-8"),
    timezone=st.none() | st.just("Europe/Berlin"),
    keyboard=st.none()
    | st.builds(KeyboardLayout, layout=NAMES, variant=st.just("") | NAMES, model=NAMES),
    wifi=st.none() | st.builds(WifiSettings, ssid=WORDS.filter(lambda s: len(s.encode()) < 33)),
    address=st.none()
    | st.builds(
        AddressSettings,
        interface=NAMES,
        address=ADDRESSES.map("{}/24".format),
        gateway=ADDRESSES,
        dns=st.lists(ADDRESSES, max_size=2, unique=True).map(tuple),
    ),
)
TARGETS = st.none() | st.builds(
    TargetAnswer,
    kind=st.sampled_from(["partition", "free_space"]),
    device=NAMES.map("/dev/{}".format),
    home=st.just("") | NAMES.map("/dev/{}".format),
)
ANSWERS = st.builds(
    Answers,
    settings=SETTINGS,
    target=TARGETS,
    image=st.just("") | st.just("store:hello"),
    encryption=st.none()
    | st.builds(EncryptionAnswer, passphrase_file=NAMES, recovery_key=st.booleans()),
)


@given(ANSWERS)
def test_what_is_saved_says_the_same_but_the_secrets(answers: Answers) -> None:
    text = format_answers(answers)
    assert answers.settings.user.password not in text
    mark = "# add: password = what mkpasswd prints, in quotes"
    added = text.replace(mark, f'password = "{answers.settings.user.password}"')
    assert answers_of(added) == answers
