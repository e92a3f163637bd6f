"""JSON that somebody else wrote: bounded in size, depth and numbers, with one meaning only.

The standard reader takes what other programs read differently (a key twice, ``NaN``) and what
breaks later (numbers of any length, halves of characters, nesting as deep as the stack). Here each
of these is Damaged. What Atoll reads from a registry, a stick, an image or a state directory
passes through here.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from atoll.base.errors import Damaged

JSON_LIMIT = 8 << 20
"""Bytes of a document, unless the caller says otherwise. 8 MiB are at most 600 MB of memory."""

JSON_DEPTH = 32
"""How many lists and objects may lie in each other."""

_DIGITS = 20
"""A number may have so many: all that fit into 64 bits."""

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse_json(
    data: bytes | str,
    *,
    where: str,
    limit: int = JSON_LIMIT,
    depth: int = JSON_DEPTH,
    file_names: bool = False,
) -> object:
    """The value of a JSON text. Raises Damaged; ``where`` says what was read.

    ``limit`` is in bytes of a ``bytes``, in characters of a ``str``. Text never has unpaired
    surrogates, numbers fit into 64 bits or are finite, and no key of an object occurs twice. With
    ``file_names`` the surrogates pass that Python has for names which are no UTF-8.
    """
    if len(data) > limit:
        raise _damaged(where, f"it has {len(data)} bytes; at most {limit} are allowed")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        value: object = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_constant,
        )
        if _HALF_CHARACTER.search(text):
            errors = "surrogateescape" if file_names else "strict"
            json.dumps(value, ensure_ascii=False).encode(errors=errors)
    except RecursionError:
        raise _damaged(where, f"it is nested more than {depth} levels deep") from None
    except UnicodeError:
        raise _damaged(where, "it has characters that are not valid Unicode") from None
    except ValueError as error:
        raise _damaged(where, str(error)) from None
    if _is_deeper(value, depth):
        raise _damaged(where, f"it is nested more than {depth} levels deep")
    return value


def parse_json_object(
    data: bytes | str, *, where: str, limit: int = JSON_LIMIT, depth: int = JSON_DEPTH
) -> dict[str, object]:
    """Like ``parse_json``, of a text that must hold one object."""
    value = parse_json(data, where=where, limit=limit, depth=depth)
    if not isinstance(value, dict):
        raise Damaged(f"{where} is not a JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key[:64]!r} occurs twice")
            seen.add(key)
    return found


def _integer(digits: str) -> int:
    if len(digits.removeprefix("-")) > _DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {digits[:20]} is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _is_deeper(value: object, depth: int) -> bool:
    """Whether lists and objects lie more than ``depth`` deep; looked at level by level."""
    level = [value] if isinstance(value, dict | list) else []
    while level and depth:
        depth -= 1
        level = [
            below
            for each in level
            for below in (each.values() if isinstance(each, dict) else each)
            if isinstance(below, dict | list)
        ]
    return bool(level)


def _damaged(where: str, why: str) -> Damaged:
    return Damaged(f"{where} is not valid JSON: {why}")
