"""What a text in a recipe may be, value by value: each check returns a ``Flaw`` or None. Pure.

Everything here ends up as a word of a command line, a line of a file of Debian's or a path in the
tree, so a check lets through only what cannot be taken for anything else there.
"""

from __future__ import annotations

import re

from atoll.base.fields import Flaw, suggest

_SUITES = ("trixie", "forky", "duke", "stable", "testing", "sid", "unstable")
_OLD_SUITES = ("bookworm", "bullseye", "buster", "stretch", "jessie", "oldstable", "oldoldstable")
_IMAGE_KINDS = ("docker", "oci", "oci-archive", "store")
_UNIT_KINDS = (
    "automount", "device", "mount", "path", "scope", "service", "slice", "socket", "swap", "target",
    "timer",
)  # fmt: skip

_DEBIANS_USERS = (
    "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp", "proxy",
    "www-data", "backup", "list", "irc", "_apt", "nobody", "messagebus", "sshd",
)  # fmt: skip

_IMAGE_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_IMAGE_VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PACKAGE = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?P<arch>:[a-z0-9][a-z0-9-]*)?"
    r"(?:=(?P<version>[^/]*)|/(?P<suite>[^=]*))?"
)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+:~-]*")
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_COMPONENT = re.compile(r"[a-z][a-z0-9-]*(?:/[a-z0-9-]+)*")
_MIRROR = re.compile(r"(?:https?://[A-Za-z0-9.\[\]:-]+|file://)(?:/[A-Za-z0-9._~%+:/-]*)?")
_HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_LOCALE = re.compile(r"C\.UTF-8|[a-z]{2,3}(?:_[A-Z]{2})?(?:\.UTF-8(?:@[a-z]+)?|@[a-z]+)")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_ARGUMENT = re.compile(r'(?:[!#-~]|"[ !#-~]*")+')
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+")
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_MODE = re.compile(r"[0-7]{3,4}|0[0-7]{4}")
_HASH = re.compile(r"\$(?:y|gy|7|6|5|2[aby])\$[./A-Za-z0-9$=,]{20,}")
_SSH_KEY = re.compile(
    r"(?:[!-~][ -~]* )?(?:ssh-(?:ed25519|rsa)|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com) AAAA[A-Za-z0-9+/]{40,}={0,3}"
    r"(?: [^\x00-\x1f\x7f]*)?"
)

ATOLLS_ARGUMENTS = frozenset(
    (
        "composefs",
        "root",
        "rootfstype",
        "rootflags",
        "ro",
        "rw",
        "init",
        "rdinit",
        "initrd",
        "panic",
    )
)
"""Arguments of the kernel that Atoll writes into every boot entry itself."""


def parse_from(text: str) -> tuple[str, Flaw | None]:
    """The suite in ``debian:SUITE``, and what is wrong with the text, if anything."""
    kind, colon, suite = text.partition(":")
    if kind != "debian" or not colon:
        if text == "empty" or (colon and kind in _IMAGE_KINDS):
            message = f"{text!r} is no base that this version builds from; it builds from Debian"
            return "", Flaw(message, 'write: from = "debian:trixie"')
        return "", Flaw(f"{text!r} is no base of a system", 'write: from = "debian:trixie"')
    if suite in _OLD_SUITES:
        message = f"{suite} is too old: the boot needs a kernel as new as Debian 13's"
        return "", Flaw(message, 'write: from = "debian:trixie"')
    if suite not in _SUITES:
        return "", Flaw(f"{suite!r} is no suite of Debian to build from", suggest(suite, _SUITES))
    return suite, None


def check_from(text: str) -> Flaw | None:
    return parse_from(text)[1]


def check_image_name(text: str) -> Flaw | None:
    if len(text) <= 64 and _IMAGE_NAME.fullmatch(text):
        return None
    hint = "small letters and digits, with single . _ or - between them, at most 64"
    return Flaw(f"{text!r} cannot name an image", hint)


def check_image_version(text: str) -> Flaw | None:
    if _IMAGE_VERSION.fullmatch(text):
        return None
    hint = "letters, digits, . _ and -, not beginning with . or -, at most 128"
    return Flaw(f"{text!r} cannot be an image's version", hint)


def is_local_package(text: str) -> bool:
    return text.startswith(("./", "../", "/"))


def check_package(text: str) -> Flaw | None:
    """A word for ``apt install``: NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE; or a local .deb."""
    if is_local_package(text):
        if not text.endswith(".deb") or _has_control(text):
            return Flaw(f"{text!r} is no path of a .deb file")
        return None
    found = _PACKAGE.fullmatch(text)
    if not found or not _is_package_name(found["name"]):
        hint = "as apt writes them: NAME, NAME:ARCH, NAME=VERSION, NAME/SUITE, or ./FILE.deb"
        return Flaw(f"{text!r} is no package", hint)
    if found["version"] is not None and not _VERSION.fullmatch(found["version"]):
        return Flaw(f"{found['version']!r} is no version of a package", "see: apt policy NAME")
    if found["suite"] is not None and not _SUITE.fullmatch(found["suite"]):
        return Flaw(f"{found['suite']!r} is no suite of Debian", "such as: NAME/trixie-backports")
    return None


def check_removed_package(text: str) -> Flaw | None:
    found = _PACKAGE.fullmatch(text)
    if found and _is_package_name(found["name"]) and not found["version"] and not found["suite"]:
        return None
    return Flaw(f"{text!r} is no package's name", "NAME or NAME:ARCH")


def package_name(text: str) -> str:
    """``NAME:ARCH`` without the version or suite that a word for apt may carry."""
    return re.split("[=/]", text, maxsplit=1)[0]


def _is_package_name(name: str) -> bool:
    # Two letters at least is Debian's rule; to apt, a minus at the end means "remove".
    return len(name) >= 2 and not name.endswith("-")


def check_component(text: str) -> Flaw | None:
    if _COMPONENT.fullmatch(text):
        return None
    return Flaw(f"{text!r} is no component", "such as: main, contrib, non-free-firmware")


def check_mirror(text: str) -> Flaw | None:
    if "@" in text.partition("://")[2].partition("/")[0]:
        hint = "the recipe travels in the image; put the password into /etc/apt/auth.conf.d"
        return Flaw("has a user or password in it", hint)
    if _MIRROR.fullmatch(text):
        return None
    return Flaw(f"{text!r} is no address of a mirror", "http://, https:// or file:/// and a path")


def check_hostname(text: str) -> Flaw | None:
    labels = text.split(".")
    if len(text) <= 64 and all(_HOST_LABEL.fullmatch(label) for label in labels):
        return None
    return Flaw(f"{text!r} is no host name", "letters, digits and inner -, at most 64")


def check_locale(text: str) -> Flaw | None:
    if _LOCALE.fullmatch(text):
        return None
    return Flaw(f"{text!r} is no locale", "such as: C.UTF-8, en_US.UTF-8, ca_ES@valencia")


def check_timezone(text: str) -> Flaw | None:
    if _ZONE.fullmatch(text):
        return None
    return Flaw(f"{text!r} is no time zone", "such as: UTC, Europe/Berlin; see: timedatectl")


def check_kernel_argument(text: str) -> Flaw | None:
    name = text.partition("=")[0]
    if name in ATOLLS_ARGUMENTS or name.startswith("atoll."):
        return Flaw(f"{name} is Atoll's to set: it names what boots", "take it out")
    if _ARGUMENT.fullmatch(text):
        return None
    hint = 'one argument an item, printable ASCII; spaces only between quotes: name="a b"'
    return Flaw(f"{text!r} is no kernel argument", hint)


def check_unit(text: str) -> Flaw | None:
    stem, dot, kind = text.rpartition(".")
    if not _UNIT.fullmatch(text) or text.startswith("-"):
        return Flaw(f"{text!r} is no unit", "such as: ssh.service")
    if not dot or kind not in _UNIT_KINDS:
        return Flaw(f"{text!r} does not say what kind of unit it is", f"such as: {text}.service")
    if not stem:
        return Flaw(f"{text!r} is no unit", "such as: ssh.service")
    return None


def check_account(text: str) -> Flaw | None:
    """The name of a user or group."""
    if _ACCOUNT.fullmatch(text):
        return None
    hint = "small letters, digits, _ and -, beginning with a letter or _, at most 32"
    return Flaw(f"{text!r} cannot name an account", hint)


def check_user(text: str) -> Flaw | None:
    if text in _DEBIANS_USERS or text.startswith("systemd-"):
        return Flaw(f"{text} is an account of Debian's own", "choose another name")
    return check_account(text)


def check_gecos(text: str) -> Flaw | None:
    if ":" in text or _has_control(text):
        return Flaw("has a colon or a line break in it", "a person's name, such as: Ada Lovelace")
    return None


def check_password(text: str) -> Flaw | None:
    """A hash of crypt(5). The text is not shown: it may be somebody's password."""
    if _HASH.fullmatch(text):
        return None
    kind = "a weak kind of hash" if text.startswith("$1$") else "not a hash"
    message = f"is {kind}; the recipe travels in the image, for everyone to read"
    return Flaw(message, "write what one of these prints: mkpasswd, openssl passwd -6")


def check_ssh_key(text: str) -> Flaw | None:
    if "PRIVATE KEY" in text:
        hint = "write the line of the .pub file beside it, and make a new pair: this one was shown"
        return Flaw("is a private key", hint)
    if _SSH_KEY.fullmatch(text):
        return None
    return Flaw("is no public key of ssh", "the line of a .pub file, such as: ssh-ed25519 AAAA…")


def check_mode(text: str) -> Flaw | None:
    if _MODE.fullmatch(text):
        return None
    return Flaw(f"{text!r} is no mode", 'octal digits in quotes, such as: "0644"')


def check_text(text: str) -> Flaw | None:
    if "\0" in text:
        return Flaw("has a NUL character in it", "keep such content in a file; name it as source")
    return None


def check_source(text: str) -> Flaw | None:
    if text and not _has_control(text):
        return None
    return Flaw(f"{text!r} is no path of a file", "relative to the recipe's folder")


def _has_control(text: str) -> bool:
    return any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
