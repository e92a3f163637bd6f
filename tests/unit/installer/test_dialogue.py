"""The dialogue: what is asked, in which order, going back, and what comes out of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Refused
from atoll.installer.answers.parse import Answers, TargetAnswer
from atoll.installer.dialogue.dialogue import Facts, Outcome, PlanText, run_dialogue
from atoll.installer.dialogue.facts import make_facts
from atoll.installer.dialogue.pages import Choice, GoBack, Input, Page
from atoll.installer.dialogue.suggestions import (
    find_locale_names,
    find_regions,
    suggest_host_name,
    suggest_user_name,
)
from atoll.installer.settings.check_settings import find_impossible
from atoll.installer.settings.image_contents import ImageContents
from atoll.installer.settings.settings import Settings, UserSettings, WifiSettings
from atoll.machine.keyboard import KeyboardLayout
from tests.dialogue_facts import make_contents, make_offer
from tests.unit.machine.small_image import make_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BACK, STOP = "<back>", "<stop>"
KEEP = "<keep>"
"""Take what is offered."""
STRAIGHT = (
    *("de", "nodeadkeys"),
    *("/dev/nvme0n1", "free_space /dev/nvme0n1"),
    "no",
    *("Ada Lovelace", KEEP, "secret", "secret"),
    "reef",
    "de_DE.UTF-8",
    "Europe/Berlin",
    "no",
    KEEP,
    "saved.toml",
    KEEP,
    "nvme0n1",
)


class Person:
    """Screens whose answers are known before; what was shown is kept."""

    def __init__(self, *answers: str, otherwise: Callable[[Page], str] | None = None) -> None:
        self.answers, self.otherwise = list(answers), otherwise
        self.pages: list[Page] = []
        self.offered: list[str] = []
        self.flaws: list[str] = []

    def choose(self, page: Page, choices: Sequence[Choice], default: str) -> str:
        answer = self._next(page)
        possible = [each.value for each in choices if not each.why_not]
        if answer == KEEP:
            answer = default if default in possible else possible[0]
        assert answer in possible, f"{page.title}: no {answer} among {possible}"
        return answer

    def ask(self, page: Page, field: Input) -> str:
        self.offered.append(field.default)
        while True:
            answer = self._next(page)
            text = field.default if answer == KEEP else answer
            flaw = field.check(text)
            if flaw is None:
                return text
            self.flaws.append(flaw.message)
            assert len(self.flaws) < 10, page

    def read(self, page: Page) -> None:
        self._next(page)

    def _next(self, page: Page) -> str:
        self.pages.append(page)
        if not self.answers and self.otherwise is not None:
            return self.otherwise(page)
        assert self.answers, f"nothing is said to: {page}"
        answer = self.answers.pop(0)
        if answer == BACK:
            raise GoBack
        if answer == STOP:
            raise KeyboardInterrupt
        return answer


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A cheap hash, and a short plan."""
    offer = make_offer(tmp_path_factory.mktemp("image"))
    return replace(
        make_facts(offer, lambda _: None),
        key="No key checks it.",
        hash_password=lambda password: f"hash of {len(password)} letters",
    )


def outcome_of(facts: Facts, *answers: str) -> tuple[Outcome, Person]:
    person = Person(*answers)
    outcome = run_dialogue(person, facts)
    assert person.answers == [], "everything was asked"
    return outcome, person


def with_said(place: int, *said: str) -> tuple[str, ...]:
    """``STRAIGHT`` with something said instead of what stands at ``place``."""
    return (*STRAIGHT[:place], *said, *STRAIGHT[place + 1 :])


def test_straight_through(facts: Facts) -> None:
    outcome, person = outcome_of(facts, *STRAIGHT)
    answers, settings = outcome.answers, outcome.answers.settings
    assert outcome.passphrase is None
    assert answers.encryption is None
    assert answers.target == TargetAnswer(kind="free_space", device="/dev/nvme0n1")
    assert answers.follow == "docker://registry.example/hello:stable"
    assert (settings.user.name, settings.user.gecos) == ("ada", "Ada Lovelace")
    assert settings.user.password == "hash of 6 letters"
    assert settings.keyboard == KeyboardLayout(layout="de", variant="nodeadkeys")
    assert (settings.hostname, settings.locale) == ("reef", "de_DE.UTF-8")
    assert (settings.timezone, settings.wifi) == ("Europe/Berlin", None)
    assert [page.step for page in person.pages][0::15] == ["1 of 11", "11 of 11"]
    assert "No key" in person.pages[-4].text
    assert "/dev/nvme0n1" in person.pages[-2].text


def test_what_the_image_does_not_have_is_not_asked(facts: Facts, tmp_path: Path) -> None:
    contents = make_contents(tmp_path, network_manager=False)
    said = (*STRAIGHT[:12], *STRAIGHT[13:])
    outcome, person = outcome_of(replace(facts, contents=contents), *said)
    assert person.pages[0].step == "1 of 10"
    assert outcome.answers.settings.hostname == "reef"


def test_encryption_with_what_is_typed_twice(facts: Facts) -> None:
    said = with_said(4, "key", "short", "long enough", "longer", "correct horse", "correct horse")
    outcome, person = outcome_of(facts, *said)
    assert outcome.passphrase == "correct horse"
    assert outcome.answers.encryption is not None
    assert outcome.answers.encryption.recovery_key
    assert person.flaws == ["has fewer than 8 characters"]
    assert any("not the same" in page.text for page in person.pages)
    assert "correct horse" not in repr(outcome)


def test_encryption_that_is_not_possible_cannot_be_chosen(facts: Facts) -> None:
    facts = replace(facts, not_encrypted="it has no systemd-cryptsetup")
    outcome, _ = outcome_of(facts, *with_said(4, KEEP))
    assert outcome.passphrase is None
    with pytest.raises(AssertionError, match="no key among"):
        run_dialogue(Person(*STRAIGHT[:4], "key"), facts)


def test_wifi(facts: Facts) -> None:
    outcome, person = outcome_of(facts, *with_said(12, "yes", "reef", "short", "correct horse"))
    assert outcome.answers.settings.wifi == WifiSettings(ssid="reef", passphrase="correct horse")
    assert outcome.answers.wifi_passphrase_file == "wifi-passphrase"
    assert person.flaws == ["is no passphrase of a Wi-Fi network"]
    outcome, _ = outcome_of(facts, *with_said(12, "yes", "reef", ""))
    assert outcome.answers.wifi_passphrase_file == ""


def test_back_shows_what_was_said(facts: Facts) -> None:
    """Back from the encryption to the disks, from there to the keyboard, and forward again."""
    said = with_said(4, BACK, BACK, KEEP, KEEP, KEEP, KEEP, "no")
    outcome, person = outcome_of(facts, *said)
    assert outcome.answers == outcome_of(facts, *STRAIGHT)[0].answers
    titles = [page.title for page in person.pages[4:10]]
    assert titles == ["Encryption", "Where to", "Keyboard", "Keyboard", "Where to", NVME]


NVME = "Where on /dev/nvme0n1"


def test_back_inside_of_a_step(facts: Facts) -> None:
    outcome, _ = outcome_of(facts, "de", BACK, "de", "neo", *STRAIGHT[2:])
    assert outcome.answers.settings.keyboard == KeyboardLayout(layout="de", variant="neo")
    outcome, _ = outcome_of(facts, *STRAIGHT[:3], BACK, *STRAIGHT[2:])
    assert outcome.answers.target == TargetAnswer(kind="free_space", device="/dev/nvme0n1")


def test_back_from_the_first_question_stays_there(facts: Facts) -> None:
    assert outcome_of(facts, BACK, BACK, *STRAIGHT)[0].answers.settings.hostname == "reef"


@pytest.mark.parametrize("place", range(len(STRAIGHT)))
def test_stopped_anywhere(facts: Facts, place: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_dialogue(Person(*STRAIGHT[:place], STOP), facts)


@pytest.mark.parametrize("place", range(1, len(STRAIGHT)))
def test_back_from_anywhere_and_on(facts: Facts, place: int) -> None:
    """Whatever is shown after going back, taking what is offered leads to the end again."""

    def keep(page: Page) -> str:
        if "password of" in page.text or "once more" in page.text:
            return "secret"
        if "name that you log in with" in page.text:
            return "ada"
        return "nvme0n1" if page.title == "Confirm" else KEEP

    person = Person(*STRAIGHT[:place], BACK, otherwise=keep)
    answers = run_dialogue(person, facts).answers
    assert answers.target is not None
    assert answers.settings.user.password == "hash of 6 letters"


def test_a_plan_that_is_refused_leads_back(facts: Facts) -> None:
    plans: list[Refused | PlanText] = [
        Refused("/dev/nvme0n1 is in use", hint="unmount it"),
        PlanText(text="ok", name="x"),
    ]

    def plan(_answers: Answers) -> PlanText:
        found = plans.pop(0)
        if isinstance(found, Refused):
            raise found
        return found

    said = (*STRAIGHT[:15], KEEP, KEEP, KEEP, "y", "x")
    _, person = outcome_of(replace(facts, plan=plan), *said)
    refused = next(page for page in person.pages if page.title == "This cannot be done")
    assert "in use" in refused.text
    assert "unmount it" in refused.text
    assert person.flaws == ["that is not x"]


def test_a_name_that_is_taken(facts: Facts) -> None:
    _, person = outcome_of(facts, *with_said(6, "daemon", "audio", "Ada", "root", "ada"))
    assert len(person.flaws) == 4
    assert "ada" in person.offered


def test_the_keyboard_is_tried(facts: Facts) -> None:
    tried: list[KeyboardLayout] = []
    outcome_of(replace(facts, try_keyboard=tried.append), *STRAIGHT)
    assert tried == [KeyboardLayout(layout="de", variant="nodeadkeys")]


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("Ada Lovelace", "ada"),
        ("Zoë", "zoe"),
        ("李 明", ""),
        ("Jean-Luc Picard", "jean-luc"),
        ("1st User", "st"),
        ("daemon", ""),
        ("", ""),
    ],
)
def test_a_login_name_from_the_full_one(full: str, name: str) -> None:
    assert suggest_user_name(full) == name


def test_an_image_without_passwords(tmp_path: Path) -> None:
    contents = ImageContents(*make_store(tmp_path, {"etc/passwd": b"root:x:0:0::/:/bin/sh\n"}))
    user = UserSettings(name="ada", password="x", groups=())
    (error,) = find_impossible(Settings(user=user), contents)
    assert "no /etc/shadow" in error.message


def test_lists(facts: Facts) -> None:
    assert find_locale_names(facts.contents) == ("en_US.UTF-8", "C.UTF-8", "de_DE.UTF-8")
    assert find_regions(facts.contents)[0] == "UTC"
    assert "US/Eastern" not in find_regions(facts.contents)
    assert suggest_host_name("hello 1.2") == "hello"
    assert suggest_host_name("") == "atoll"
    assert suggest_host_name("a_b 1") == "atoll"
