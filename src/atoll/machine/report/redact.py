"""Take what identifies a person or a machine out of text that is to be published.

Names of the machine and of people are known and replaced as words. Addresses, serial numbers and
keys are recognized by their form. It rather takes out too much than too little: a version that
looks like an address is replaced, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

_SHORTEST = 3
"""Letters of a person's name that is replaced: shorter ones are parts of ordinary words."""
_EVERYONES_HOSTS = ("localhost", "localhost.localdomain")
_FORMS = (
    (re.compile(r"(/etc/NetworkManager/system-connections/)[^\n\"]+"), r"\1NAME"),
    (re.compile(r"(/etc/wireguard/)[^\s\"]+"), r"\1NAME"),
    (re.compile(r"(/home/)[^/\s\"]+"), r"\1USER"),
    (re.compile(r"(/disk/by-[a-z]+/)[^\s\"]+"), r"\1NAME"),
    (
        re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE),
        "UUID",
    ),
    (re.compile(r"\b[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}\b", re.IGNORECASE), "MAC"),
    (re.compile(r"(serial(?: ?(?:number|no\.?))?\s*[:=]\s*)[^\s,;]+", re.IGNORECASE), r"\1SERIAL"),
    (re.compile(r"\b(?:eui|naa|uuid|wwn|t10)\.[\w.-]+", re.IGNORECASE), "SERIAL"),
    (re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{32}(?![0-9a-fA-F])"), "ID"),
)
_LONG = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/]{40,}={0,2}(?![\w+/=-])")
_HEX = re.compile(r"[0-9a-f]+", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w]|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f:]*:[0-9a-f:]*:[0-9a-f:.]*[0-9a-f:](?![\w:])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNames:
    """What is known to identify this machine and its people. ``people`` are names of users and
    the names in their comments, in pairs."""

    hosts: tuple[str, ...] = ()
    people: tuple[tuple[str, str], ...] = ()


def redact(text: str, known: KnownNames) -> str:
    for number, names in enumerate(known.people, 1):
        text = _replace_words(text, names, f"USER{number}")
    hosts = [each for each in known.hosts if each not in _EVERYONES_HOSTS]
    text = _replace_words(text, sorted(hosts, key=len, reverse=True), "HOST")
    for form, word in _FORMS:
        text = form.sub(word, text)
    text = _LONG.sub(lambda found: found[0] if _HEX.fullmatch(found[0]) else "KEY", text)
    text = _IPV4.sub(_address, text)
    return _IPV6.sub(_address, text)


def redact_document(document: Json, known: KnownNames, *, keep: Iterable[str] = ()) -> Json:
    """All texts of a JSON document but the values of the keys ``keep``."""
    kept = frozenset(keep)

    def visit(value: Json) -> Json:
        match value:
            case str():
                return redact(value, known)
            case list():
                return [visit(each) for each in value]
            case dict():
                return {key: each if key in kept else visit(each) for key, each in value.items()}
        return value

    return visit(document)


def find_people(passwd: Mapping[str, tuple[int, str]]) -> tuple[tuple[str, str], ...]:
    """Names and comments of the accounts of people; ``passwd`` maps names to id and comment."""
    return tuple(
        (name, comment.split(",")[0])
        for name, (uid, comment) in sorted(passwd.items())
        if 1000 <= uid < 65534
    )


def _replace_words(text: str, names: Iterable[str], word: str) -> str:
    for name in names:
        if len(name) >= _SHORTEST:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", word, text)
    return text


def _address(found: re.Match[str]) -> str:
    for kind in (IPv4Address, IPv6Address):
        try:
            address = kind(found[0])
        except (AddressValueError, ValueError):
            continue
        return found[0] if address.is_loopback or address.is_unspecified else "ADDRESS"
    return found[0]
