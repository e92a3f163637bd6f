"""Checks of single values of an answers file; each returns a Flaw or None. Pure.

What a recipe says of the same things is checked by the same functions (``check_values``).
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface

from atoll.base.fields import Flaw
from atoll.recipe.language.check_values import check_user, has_control

_YESCRYPT = r"\$y\$[./A-Za-z0-9]{2,12}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
_SHA512 = r"\$6\$(?:rounds=[1-9][0-9]{3,8}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}"
_XKB_LIST = r"[A-Za-z0-9_-]*(?:,[A-Za-z0-9_-]*)*"
_XKB_OPTIONS = r"[A-Za-z0-9_]+:[A-Za-z0-9_]+(?:,[A-Za-z0-9_]+:[A-Za-z0-9_]+)*"
_INTERFACE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}"
_SSID_BYTES = 32
PASSPHRASE_LEAST = 8


def check_person(text: str) -> Flaw | None:
    """The name of a person's account."""
    if text == "root":
        return Flaw("root is an account that every Debian system has", "choose another name")
    return check_user(text)


def check_hash(text: str) -> Flaw | None:
    """The text is not shown: it may be somebody's password."""
    if re.fullmatch(f"{_YESCRYPT}|{_SHA512}", text):
        return None
    kind = re.match(r"\$(?:1|2[abxy]|5|7|gy|sha1|md5)\$", text)
    what = f"is a hash of another kind ({kind[0]})" if kind else "is not a hash of a password"
    return Flaw(
        f"{what}; only yescrypt ($y$) and sha512crypt ($6$) are taken",
        "write what one of these prints: mkpasswd, openssl passwd -6",
    )


def check_device(text: str) -> Flaw | None:
    if text.startswith("/dev/") and ".." not in text.split("/") and not has_control(text):
        return None
    return Flaw(
        f"{text!r} is not a device",
        "a path below /dev, such as /dev/nvme0n1 or, the same after every start,"
        " /dev/disk/by-id/NAME; lsblk lists disks",
    )


def check_file(text: str) -> Flaw | None:
    if text and not has_control(text):
        return None
    return Flaw(f"{text!r} is not the name of a file", "a path, relative to the answers file")


def check_xkb_list(text: str) -> Flaw | None:
    if re.fullmatch(_XKB_LIST, text):
        return None
    return Flaw(f"{text!r} is no list of names", "such as: de or us,ru; see keyboard(5)")


def check_layout(text: str) -> Flaw | None:
    return check_xkb_list(text) if text else Flaw("is empty", "such as: us, de, fr")


def check_xkb_options(text: str) -> Flaw | None:
    if not text or re.fullmatch(_XKB_OPTIONS, text):
        return None
    hint = "such as: ctrl:nocaps,grp:alt_shift_toggle; see xkeyboard-config(7)"
    return Flaw(f"{text!r} is no list of options", hint)


def check_ssid(text: str) -> Flaw | None:
    if text and not has_control(text) and len(text.encode()) <= _SSID_BYTES:
        return None
    return Flaw(f"{text!r} cannot name a Wi-Fi network", f"1 to {_SSID_BYTES} bytes")


def check_wifi_passphrase(text: str) -> Flaw | None:
    """WPA's rules. The text is not shown."""
    if re.fullmatch(r"[ -~]{8,63}|[0-9A-Fa-f]{64}", text):
        return None
    return Flaw("is no passphrase of a Wi-Fi network", "8 to 63 ASCII characters, or 64 hex digits")


def check_passphrase(text: str) -> Flaw | None:
    """A passphrase that is typed at every start. The text is not shown."""
    if len(text) < PASSPHRASE_LEAST:
        return Flaw(f"has fewer than {PASSPHRASE_LEAST} characters", "choose a longer one")
    if has_control(text):
        return Flaw("has control characters, which no keyboard types", "leave them out")
    return None


def check_interface(text: str) -> Flaw | None:
    if re.fullmatch(_INTERFACE, text):
        return None
    return Flaw(f"{text!r} is not a network interface", "such as: enp3s0; see: ip link")


def check_address(text: str) -> Flaw | None:
    try:
        found = ip_interface(text)
    except ValueError:
        found = None
    if found is not None and "/" in text:
        return None
    return Flaw(f"{text!r} is not an address with a prefix length", "such as: 192.0.2.7/24")


def check_host_address(text: str) -> Flaw | None:
    try:
        ip_address(text)
    except ValueError:
        return Flaw(f"{text!r} is not an IP address", "such as: 192.0.2.1, 2001:db8::1")
    return None
