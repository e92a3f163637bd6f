"""Checks for single values of a recipe; each returns a ``Flaw`` or None. Pure.

Every value ends up as an argument of a command, in a line of a configuration file or in a path, so
a check accepts only what cannot mean anything else there. Patterns are compiled on first use: most
recipes need few.
"""

from __future__ import annotations

import re

from atoll.base.fields import Flaw
from atoll.tree.cmdline import find_reserved, is_argument

_UNIT_KINDS = (
    "automount",
    "device",
    "mount",
    "path",
    "scope",
    "service",
    "slice",
    "socket",
    "swap",
    "target",
    "timer",
)

_DEBIANS_USERS = (
    "daemon",
    "bin",
    "sys",
    "sync",
    "games",
    "man",
    "lp",
    "mail",
    "news",
    "uucp",
    "proxy",
    "www-data",
    "backup",
    "list",
    "irc",
    "_apt",
    "nobody",
    "messagebus",
    "sshd",
)

_DEBIANS_GROUPS = (
    "root",
    "daemon",
    "bin",
    "sys",
    "adm",
    "tty",
    "disk",
    "lp",
    "mail",
    "news",
    "uucp",
    "man",
    "proxy",
    "kmem",
    "dialout",
    "fax",
    "voice",
    "cdrom",
    "floppy",
    "tape",
    "sudo",
    "audio",
    "dip",
    "www-data",
    "backup",
    "operator",
    "list",
    "irc",
    "src",
    "shadow",
    "utmp",
    "video",
    "sasl",
    "plugdev",
    "staff",
    "games",
    "users",
    "nogroup",
    "input",
    "kvm",
    "render",
    "sgx",
    "messagebus",
    "crontab",
    "netdev",
)

_IMAGE_NAME = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
_IMAGE_VERSION = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_LOCALE = r"C\.UTF-8|[a-z]{2,3}(?:_[A-Z]{2})?(?:\.UTF-8(?:@[a-z]+)?|@[a-z]+)"
_ZONE = r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}"
_UNIT = r"[A-Za-z0-9:_.\\@-]+"
_ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}"
_MODE = r"[0-7]{3,4}|0[0-7]{4}"
_HASH = r"\$(?:y|gy|7|6|5|2[aby])\$[./A-Za-z0-9$=,]{20,}"
_SSH_KEY = (
    r"(?:[!-~][ -~]* )?(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) AAAA[A-Za-z0-9+/]{40,}={0,3}"
    r"(?: [^\x00-\x1f\x7f]*)?"
)


def check_image_name(text: str) -> Flaw | None:
    if len(text) <= 64 and re.fullmatch(_IMAGE_NAME, text):
        return None
    hint = "small letters and digits, with single . _ or - between them, at most 64"
    return Flaw(f"{text!r} cannot name an image", hint)


def check_image_version(text: str) -> Flaw | None:
    if re.fullmatch(_IMAGE_VERSION, text):
        return None
    hint = "letters, digits, . _ and -, not beginning with . or -, at most 128"
    return Flaw(f"{text!r} cannot be an image's version", hint)


def check_hostname(text: str) -> Flaw | None:
    labels = text.split(".")
    if len(text) <= 64 and all(re.fullmatch(_HOST_LABEL, label) for label in labels):
        return None
    return Flaw(f"{text!r} is not a host name", "letters, digits and inner -, at most 64")


def check_locale(text: str) -> Flaw | None:
    if re.fullmatch(_LOCALE, text):
        return None
    return Flaw(f"{text!r} is not a locale", "such as: C.UTF-8, en_US.UTF-8, ca_ES@valencia")


def check_timezone(text: str) -> Flaw | None:
    if re.fullmatch(_ZONE, text):
        return None
    return Flaw(f"{text!r} is not a time zone", "such as: UTC, Europe/Berlin; see: timedatectl")


def check_kernel_argument(text: str) -> Flaw | None:
    name = find_reserved(text)
    if name is not None:
        return Flaw(f"{name} is set by Atoll: it selects what boots", "take it out")
    if is_argument(text):
        return None
    hint = 'one argument an item, printable ASCII; spaces only between quotes: name="a b"'
    return Flaw(f"{text!r} is not a kernel argument", hint)


def check_unit(text: str) -> Flaw | None:
    stem, dot, kind = text.rpartition(".")
    if not re.fullmatch(_UNIT, text) or text.startswith("-"):
        return Flaw(f"{text!r} is not a systemd unit", "such as: ssh.service")
    if not dot or kind not in _UNIT_KINDS:
        return Flaw(f"{text!r} does not say what kind of unit it is", f"such as: {text}.service")
    if not stem:
        return Flaw(f"{text!r} is not a systemd unit", "such as: ssh.service")
    return None


def check_account(text: str) -> Flaw | None:
    """The name of a user or group."""
    if re.fullmatch(_ACCOUNT, text):
        return None
    hint = "small letters, digits, _ and -, beginning with a letter or _, at most 32"
    return Flaw(f"{text!r} cannot name an account", hint)


def check_user(text: str) -> Flaw | None:
    """A name for a new user: not one that Debian always has."""
    if text in _DEBIANS_USERS or text.startswith("systemd-"):
        return Flaw(f"{text} is an account that every Debian system has", "choose another name")
    return check_account(text)


def check_gecos(text: str) -> Flaw | None:
    if ":" in text or has_control(text):
        return Flaw("has a colon or a line break in it", "a person's name, such as: Ada Lovelace")
    return None


def check_password(text: str) -> Flaw | None:
    """A password hash of crypt(5). The text is not shown: it may be somebody's password."""
    if re.fullmatch(_HASH, text):
        return None
    kind = "a weak kind of hash" if text.startswith("$1$") else "not a hash"
    message = f"is {kind}; everyone who has the image can read the recipe"
    return Flaw(message, "write what one of these prints: mkpasswd, openssl passwd -6")


def check_ssh_key(text: str) -> Flaw | None:
    """A public key, as a line of authorized_keys."""
    if "PRIVATE KEY" in text:
        hint = (
            "write the line of the .pub file beside it, and generate a new key pair: this one is"
            " no longer secret"
        )
        return Flaw("is a private key", hint)
    if re.fullmatch(_SSH_KEY, text):
        return None
    return Flaw("is not an ssh public key", "the line of a .pub file, such as: ssh-ed25519 AAAA…")


def check_mode(text: str) -> Flaw | None:
    if re.fullmatch(_MODE, text):
        return None
    return Flaw(f"{text!r} is not a file mode", 'octal digits in quotes, such as: "0644"')


def check_text(text: str) -> Flaw | None:
    if "\0" in text:
        return Flaw("has a NUL character in it", "keep such content in a file; name it as source")
    return None


def check_source(text: str) -> Flaw | None:
    if is_path(text):
        return None
    return Flaw(f"{text!r} is not a path of a file", "relative to the recipe's folder")


def has_control(text: str) -> bool:
    """Whether a text has ASCII control characters."""
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)


def check_one_line(text: str) -> Flaw | None:
    if text and not has_control(text):
        return None
    return Flaw(f"{text!r} is not a single line of text", "one line, not empty")


def check_keymap(text: str) -> Flaw | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        return None
    return Flaw(
        f"{text!r} is not a keymap", "such as: us, de, fr-latin9; see: localectl list-keymaps"
    )


def check_module(text: str) -> Flaw | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", text):
        return None
    return Flaw(f"{text!r} is not a kernel module", "its name alone, such as: br_netfilter")


def check_group(text: str) -> Flaw | None:
    """A name for a new group: not one that Debian always has."""
    if text in _DEBIANS_GROUPS or text.startswith("systemd-"):
        return Flaw(
            f"{text} is a group that every Debian system has",
            "it exists already: leave it out here",
        )
    return check_account(text)


def check_script_name(text: str) -> Flaw | None:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        return None
    hint = "letters, digits, . _ and -, beginning with a letter or digit, at most 64"
    return Flaw(f"{text!r} cannot be a name here", hint)


def check_url(text: str) -> Flaw | None:
    authority = text.partition("://")[2].partition("/")
    if "@" in authority[0]:
        return Flaw(
            "has a user or password in it", "everyone who has the image can read the recipe"
        )
    if re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+/[!-~]*", text):
        return None
    return Flaw(f"{text!r} is not the URL of a file", "http:// or https://, a host and a path")


def check_sha256(text: str) -> Flaw | None:
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return None
    return Flaw(f"{text!r} is not a SHA-256", "the 64 small hex digits that sha256sum prints")


def check_link(text: str) -> Flaw | None:
    if text and not has_control(text) and len(text.encode()) <= 4095:
        return None
    return Flaw(f"{text!r} is not a link target", "a path, such as: ../run/x.conf")


def is_path(text: str) -> bool:
    """Whether a text can be the path of a local file."""
    parts = text.encode().split(b"/")
    short = sum(map(len, parts)) < 4000 and all(len(part) <= 255 for part in parts)
    return bool(text) and short and not has_control(text)
