"""The pages of the dialogue: a list, an input field, a text; and the interface that shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atoll.base.fields import Check


class GoBack(Exception):
    """The person wants to see the question before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One line of a list. ``why_not``: it cannot be chosen, and why."""

    value: str
    title: str
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a person sees above a list or a field. ``step`` says how far they are."""

    title: str
    text: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A field for one line; ``secret``: what is typed is not shown."""

    label: str
    default: str = ""
    secret: bool = False
    check: Check = field(default=lambda _: None)


class Screens(Protocol):
    """Where questions are asked. Each raises GoBack, or KeyboardInterrupt when the person stops."""

    def choose(self, page: Page, choices: Sequence[Choice], default: str) -> str:
        """The value of a choice that can be chosen."""

    def ask(self, page: Page, field: Input) -> str:
        """A line that ``field.check`` finds nothing wrong with."""

    def read(self, page: Page) -> None:
        """Show a text of any length until the person goes on."""
