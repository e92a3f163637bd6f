"""Strict JSON parsing for untrusted input, with limits on size, depth and numbers.

Python's parser accepts input that other programs read differently (duplicate keys, ``NaN``) or
that fails later (numbers of any length, lone surrogates, nesting up to the recursion limit). Here
each of these raises Damaged. Everything that Atoll reads from a registry, removable media, an image
or a state directory is parsed here.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from atoll.base.errors import Damaged

JSON_LIMIT = 8 << 20
"""Default limit in bytes. A parsed document of 8 MiB takes at most 600 MB of memory."""

JSON_DEPTH = 32
"""Default limit on nested lists and objects."""

_DIGITS = 20
"""The most digits of an integer: enough for every 64-bit number."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse_json(
    data: bytes | str,
    *,
    where: str,
    limit: int = JSON_LIMIT,
    depth: int = JSON_DEPTH,
    file_names: bool = False,
) -> object:
    """Parse a JSON text. Raises Damaged; ``where`` names the source in the message.

    ``limit`` counts bytes if ``data`` is ``bytes``, characters if it is ``str``. In the result,
    strings have no lone surrogates, integers have at most 20 digits, floats are finite, and no
    object had a duplicate key. With ``file_names``, strings may contain the surrogates with which
    Python represents file names that are not valid UTF-8 (``surrogateescape``).
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
        # The search is cheap but finds valid pairs, too: encoding the value decides.
        if _SURROGATE.search(text):
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
    """Like ``parse_json``, but the value must be an object; else raises Damaged."""
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
    """Whether lists and objects are nested deeper than ``depth``.

    Not recursive: the input may be nested almost up to Python's recursion limit.
    """
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
