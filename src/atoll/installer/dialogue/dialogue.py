"""``atoll install`` for a person at a terminal: questions, the plan, the disk's name to confirm.

Each question is a step; going back returns to the one before, with all answers kept. What is asked
depends on what the machine and the image have. Nothing here draws (``Screens``) or writes: the
outcome are the same ``Answers`` that an answers file gives, and a passphrase.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atoll.base.errors import AtollError
from atoll.base.fields import Flaw
from atoll.installer.answers.checks import (
    check_passphrase,
    check_person,
    check_ssid,
    check_wifi_passphrase,
)
from atoll.installer.answers.parse import Answers, EncryptionAnswer, TargetAnswer
from atoll.installer.dialogue.pages import Choice, GoBack, Input, Page, Screens
from atoll.installer.dialogue.suggestions import (
    find_locale_names,
    find_regions,
    suggest_host_name,
    suggest_user_name,
)
from atoll.installer.settings.settings import Settings, UserSettings, WifiSettings
from atoll.machine.keyboard import KeyboardLayout
from atoll.recipe.language.check_values import check_gecos, check_hostname

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.base.fields import Check
    from atoll.installer.settings.image_contents import ImageContents

_YES, _NO, _KEY = "yes", "no", "key"
_NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """A plan for people, and the name of the disk that a person types to confirm it."""

    text: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the questions depend on.

    ``places`` are the disks; ``parts_of`` gives what can be done with one of them. ``key`` says by
    which key what is followed is checked, ``not_encrypted`` why nothing can be (empty where it
    can). ``plan`` raises AtollError that says why it is not possible. ``hash_password`` and
    ``try_keyboard`` have effects, on the terminal only.
    """

    image: str
    title: str
    follow: str
    key: str
    check_follow: Check
    not_encrypted: str
    contents: ImageContents
    places: tuple[Choice, ...]
    parts_of: Callable[[str], tuple[tuple[Choice, TargetAnswer], ...]]
    plan: Callable[[Answers], PlanText]
    hash_password: Callable[[str], str]
    try_keyboard: Callable[[KeyboardLayout], None]


@dataclass(slots=True, kw_only=True)
class Draft:
    """The answers so far."""

    keyboard: KeyboardLayout | None = None
    disk: str = ""
    target: TargetAnswer | None = None
    passphrase: str | None = field(default=None, repr=False)
    recovery_key: bool = True
    user: UserSettings | None = None
    hostname: str = ""
    locale: str | None = None
    timezone: str | None = None
    wifi: WifiSettings | None = None
    follow: str = ""
    save: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``save`` names a file for the answers, empty for none."""

    answers: Answers
    passphrase: str | None = field(repr=False)
    save: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``applies`` may change while the person goes on and back; ``ask`` changes the draft."""

    title: str
    ask: Callable[[Draft, Facts, Screens, str], None]
    applies: Callable[[Draft, Facts], bool] = lambda _draft, _facts: True


def run_dialogue(screens: Screens, facts: Facts) -> Outcome:
    """Raises KeyboardInterrupt when the person stops; until then nothing was written."""
    draft = Draft(follow=facts.follow)
    number = 0
    while number < len(QUESTIONS):
        step = QUESTIONS[number]
        if not step.applies(draft, facts):
            number += 1
            continue
        shown = [each for each in QUESTIONS if each.applies(draft, facts)]
        place = f"{shown.index(step) + 1} of {len(shown)}"
        try:
            step.ask(draft, facts, screens, place)
        except GoBack:
            before = [n for n in range(number) if QUESTIONS[n].applies(draft, facts)]
            number = before[-1] if before else number
        else:
            number += 1
    return Outcome(answers=_answers(draft, facts), passphrase=draft.passphrase, save=draft.save)


def _ask_keyboard(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    layouts, titles = facts.contents.layouts, facts.contents.layout_titles
    names = sorted(layouts, key=lambda name: titles.get(name, name))
    choices = [Choice(value=name, title=f"{titles.get(name, name)} ({name})") for name in names]
    page = Page(title="Keyboard", text="Which layout does the keyboard have?", step=step)
    while True:
        was = draft.keyboard
        layout = screens.choose(page, choices, was.layout if was else "us")
        variants = sorted(layouts[layout])
        same = was if was and was.layout == layout else None
        draft.keyboard = same or KeyboardLayout(layout=layout)
        if not variants:
            break
        lines = [Choice(value=_NONE, title="no variant")]
        lines += [Choice(value=name, title=name) for name in variants]
        below = Page(title="Keyboard", text=f"Which variant of {layout}?", step=step)
        try:
            chosen = screens.choose(below, lines, (same.variant if same else "") or _NONE)
        except GoBack:
            continue
        draft.keyboard = KeyboardLayout(layout=layout, variant="" if chosen == _NONE else chosen)
        break
    facts.try_keyboard(draft.keyboard)


def _ask_place(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(
        title="Where to",
        text=f"Which disk gets {facts.title}? Nothing is written before you have confirmed it.",
        step=step,
    )
    while True:
        draft.disk = screens.choose(page, facts.places, draft.disk)
        parts = facts.parts_of(draft.disk)
        below = Page(title=f"Where on {draft.disk}", text="How much of it?", step=step)
        was = next((line.value for line, target in parts if target == draft.target), "")
        try:
            chosen = screens.choose(below, [line for line, _ in parts], was)
        except GoBack:
            continue
        draft.target = next(target for line, target in parts if line.value == chosen)
        return


def _ask_encryption(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(
        title="Encryption",
        text="Encrypted, the disk can be read by nobody who does not know the passphrase, which is"
        " typed at every start. Who forgets it loses everything on the disk. A recovery key opens"
        " it as well; it is shown once, after the install, to be kept elsewhere.",
        step=step,
    )
    choices = (
        Choice(
            value=_KEY,
            title="encrypt the system and all files, with a recovery key",
            why_not=facts.not_encrypted,
        ),
        Choice(value=_YES, title="encrypt without a recovery key", why_not=facts.not_encrypted),
        Choice(value=_NO, title="do not encrypt"),
    )
    was = _NO if draft.passphrase is None else _KEY if draft.recovery_key else _YES
    wanted = screens.choose(page, choices, was)
    draft.recovery_key = wanted == _KEY
    if wanted == _NO:
        draft.passphrase = None
        return
    field = Input(label="Passphrase", secret=True, check=check_passphrase)
    text = "It is typed at every start. Several words are easier to type than signs."
    draft.passphrase = _ask_twice(screens, replace(page, text=text), field)


def _ask_user(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(title="Your account", step=step)
    was = draft.user
    text = "Your full name, as others see it. It may stay empty."
    gecos = screens.ask(
        replace(page, text=text),
        Input(label="Full name", default=was.gecos if was else "", check=check_gecos),
    )
    name = screens.ask(
        replace(
            page, text="The name that you log in with. You may use sudo; root gets no password."
        ),
        Input(
            label="Login name",
            default=was.name if was else suggest_user_name(gecos),
            check=_free_name(facts),
        ),
    )
    password = _ask_twice(
        screens,
        replace(page, text=f"The password of {name}."),
        Input(label="Password", secret=True, check=_not_empty),
    )
    draft.user = UserSettings(name=name, gecos=gecos, password=facts.hash_password(password))


def _ask_hostname(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(
        title="Host name", text="The name of this machine, for others on the network.", step=step
    )
    default = draft.hostname or suggest_host_name(facts.title)
    draft.hostname = screens.ask(
        page, Input(label="Host name", default=default, check=check_hostname)
    )


def _ask_locale(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(
        title="Language",
        text="Language, and formats of dates and numbers. The image has these; its recipe can add"
        " others.",
        step=step,
    )
    names = find_locale_names(facts.contents)
    choices = [Choice(value=name, title=name) for name in names]
    draft.locale = screens.choose(page, choices, draft.locale or names[0])


def _ask_timezone(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(title="Time zone", text="The city whose time it is here.", step=step)
    choices = [
        Choice(value=name, title=name.replace("_", " ")) for name in find_regions(facts.contents)
    ]
    draft.timezone = screens.choose(page, choices, draft.timezone or "UTC")


def _ask_network(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:  # noqa: ARG001
    page = Page(title="Network", text="How does this machine reach the network?", step=step)
    choices = (
        Choice(value=_NO, title="by cable, or set up later"),
        Choice(value=_YES, title="by Wi-Fi"),
    )
    if screens.choose(page, choices, _YES if draft.wifi else _NO) == _NO:
        draft.wifi = None
        return
    was = draft.wifi
    ssid = screens.ask(
        replace(page, text="The name of the Wi-Fi network (SSID)."),
        Input(label="Network", default=was.ssid if was else "", check=check_ssid),
    )
    text = f"The passphrase of {ssid}. It stays empty for an open network."
    passphrase = screens.ask(
        replace(page, text=text),
        Input(label="Passphrase", secret=True, check=_wifi_passphrase),
    )
    draft.wifi = WifiSettings(ssid=ssid, passphrase=passphrase)


def _ask_follow(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    page = Page(title="Upgrades", text=f"Which image do upgrades take? {facts.key}", step=step)
    field = Input(label="Image", default=draft.follow or facts.follow, check=facts.check_follow)
    draft.follow = screens.ask(page, field)


def _ask_save(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:  # noqa: ARG001
    page = Page(
        title="Answers file",
        text="The answers can be saved in a file that installs other machines like this one,"
        " unattended. No password or passphrase is in it. Leave it empty to save none.",
        step=step,
    )
    draft.save = screens.ask(page, Input(label="File", default=draft.save))


def _confirm_plan(draft: Draft, facts: Facts, screens: Screens, step: str) -> None:
    try:
        plan = facts.plan(_answers(draft, facts))
    except AtollError as error:
        text = f"{error.message}\n\n{error.hint or ''}\n\nGo back to choose something else."
        screens.read(Page(title="This cannot be done", text=text, step=step))
        raise GoBack from error
    screens.read(Page(title="The plan", text=plan.text, step=step))
    page = Page(
        title="Confirm",
        text="Nothing was written so far. To carry out the plan, type the name of the disk:"
        f" {plan.name}",
        step=step,
    )

    def is_name(text: str) -> Flaw | None:
        return None if text == plan.name else Flaw(f"that is not {plan.name}")

    screens.ask(page, Input(label="Name of the disk", check=is_name))


QUESTIONS = (
    Question(
        title="Keyboard",
        ask=_ask_keyboard,
        applies=lambda _draft, facts: bool(facts.contents.layouts),
    ),
    Question(title="Where to", ask=_ask_place),
    Question(title="Encryption", ask=_ask_encryption),
    Question(title="Your account", ask=_ask_user),
    Question(title="Host name", ask=_ask_hostname),
    Question(
        title="Language",
        ask=_ask_locale,
        applies=lambda _draft, facts: len(find_locale_names(facts.contents)) > 1,
    ),
    Question(
        title="Time zone",
        ask=_ask_timezone,
        applies=lambda _draft, facts: bool(facts.contents.timezones),
    ),
    Question(
        title="Network",
        ask=_ask_network,
        applies=lambda _draft, facts: facts.contents.has_network_manager,
    ),
    Question(title="Upgrades", ask=_ask_follow),
    Question(title="Answers file", ask=_ask_save),
    Question(title="The plan", ask=_confirm_plan),
)


def _answers(draft: Draft, facts: Facts) -> Answers:
    assert draft.user is not None, "the account was asked for"
    encryption = None
    if draft.passphrase is not None:
        encryption = EncryptionAnswer(passphrase_file="passphrase", recovery_key=draft.recovery_key)
    return Answers(
        image=facts.image,
        follow=draft.follow,
        target=draft.target,
        encryption=encryption,
        wifi_passphrase_file="wifi-passphrase" if draft.wifi and draft.wifi.passphrase else "",
        settings=Settings(
            user=draft.user,
            hostname=draft.hostname,
            locale=draft.locale,
            timezone=draft.timezone,
            keyboard=draft.keyboard,
            wifi=draft.wifi,
        ),
    )


def _ask_twice(screens: Screens, page: Page, field: Input) -> str:
    while True:
        first = screens.ask(page, field)
        again = replace(page, text="The same once more.")
        try:
            second = screens.ask(again, replace(field, check=lambda _: None))
        except GoBack:
            continue
        if second == first:
            return first
        page = replace(page, text="The two were not the same. Type it again.")


def _free_name(facts: Facts) -> Check:
    def check(text: str) -> Flaw | None:
        flaw = check_person(text)
        if flaw is None and text in facts.contents.users | facts.contents.groups:
            return Flaw(f"the image has an account or group {text} already", "choose another name")
        return flaw

    return check


def _not_empty(text: str) -> Flaw | None:
    return None if text else Flaw("is empty")


def _wifi_passphrase(text: str) -> Flaw | None:
    return check_wifi_passphrase(text) if text else None
