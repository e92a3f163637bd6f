"""Verbs that people bring from other tools, and verbs that Atoll does not have yet.

Neither is ever obeyed: ``unknown_verb`` answers with the verb of ours, or with what to do today.
This is the only place that says so: no other hint names a verb that is not there.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ADD = "put it into [packages] install of the recipe, then: atoll build"
_COPY = "skopeo copies images: skopeo copy oci:DIR:TAG docker://HOST/NAME:TAG"
_ARGS = "put it into [kernel] args of the recipe, then: atoll build"
_SIGN = "images are not signed yet; every file is checked against the tree digest"

NOT_YET = {
    "add": _ADD,
    "app": "Flatpaks: flatpak install APP, for one person: flatpak install --user APP",
    "apply": "machines take a new image: atoll build, then sudo atoll upgrade",
    "auto": "a timer of yours can run: atoll upgrade",
    "box": "a container to work in: podman run -it --rm debian:trixie",
    "capture": "put the program into a [[script]] of the recipe: atoll explain script",
    "copy": _COPY,
    "delta": "upgrades fetch only the files that are missing; there are no deltas yet",
    "drift": "what was changed in /etc: atoll etc diff",
    "edit": "change the recipe, then: atoll build",
    "fsck": "to read and check all that is stored: atoll store check",
    "how": "see: atoll --help; of a key of the recipe: atoll explain KEY",
    "kargs": _ARGS,
    "key": _SIGN,
    "profile": "put packages for everybody into [packages] install of the recipe",
    "promote": "skopeo copy docker://HOST/NAME:TAG docker://HOST/NAME:STABLE",
    "push": "atoll build --output oci:DIR:TAG; then skopeo copy oci:DIR:TAG docker://…",
    "remove": "take it out of [packages] install of the recipe, then: atoll build",
    "report": "for a report: atoll status --json, atoll health --json, atoll history --json",
    "reset": "to put a file in /etc back: atoll etc reset PATH",
    "scratch": "to try things: atoll vm store:NAME, whose disk is gone afterwards",
    "search": "Debian's packages: apt-cache search WORD, or https://packages.debian.org",
    "shell": "a program for once: podman run -it --rm debian:trixie",
    "sign": _SIGN,
    "verify": "to build twice and compare: atoll build --verify; the store: atoll store check",
    "why": "which package needs which: aptitude why PACKAGE",
    "withdraw": "delete the tag in the registry: skopeo delete docker://HOST/NAME:TAG",
}
"""Verbs of Atoll's design that this version does not have: what to do today."""

OURS = {
    # apt, dnf, pacman, zypper
    "update": "upgrade",
    "dist-upgrade": "upgrade",
    "full-upgrade": "upgrade",
    "dup": "upgrade",
    "distro-sync": "upgrade",
    "autoremove": "gc",
    "uninstall": "remove",
    "purge": "remove",
    "erase": "remove",
    "find": "search",
    "show": "inspect",
    "info": "inspect",
    "clean": "gc",
    "autoclean": "gc",
    "reinstall": "rebase",
    "hold": "pin",
    "unhold": "unpin",
    # rpm-ostree, bootc, ostree
    "switch": "rebase",
    "deploy": "install",
    "layer": "add",
    "override": "remove",
    "refresh-md": "plan",
    "db": "diff",
    "compose": "build",
    "usroverlay": "scratch",
    "finalize-deployment": "upgrade",
    "fetch": "pull",
    "cleanup": "gc",
    "undeploy": "gc",
    "checkout": "tree",
    "commit": "build",
    "edit-kargs": "kargs",
    # NixOS, Guix, snap, abroot, transactional-update
    "generations": "history",
    "list-generations": "history",
    "rebuild": "build",
    "garbage-collect": "gc",
    "collect-garbage": "gc",
    "reconfigure": "apply",
    "refresh": "upgrade",
    "revert": "rollback",
    "undo": "rollback",
    "restore": "rollback",
    "downgrade": "rollback",
    "previous": "rollback",
    "pkg": "add",
    "optimise": "gc",
    "develop": "shell",
    "repair": "fsck",
    # containers, git, mkosi, debos
    "run": "vm",
    "start": "vm",
    "boot": "vm",
    "qemu": "vm",
    "exec": "vm",
    "images": "store",
    "image": "inspect",
    "rmi": "store",
    "publish": "push",
    "upload": "push",
    "export": "disk",
    "save": "disk",
    "flash": "disk",
    "write": "disk",
    "burn": "disk",
    "iso": "disk",
    "load": "pull",
    "download": "pull",
    "clone": "pull",
    "tag": "copy",
    "prune": "gc",
    "init": "new",
    "create": "new",
    "begin": "new",
    "make": "build",
    "mk": "build",
    "compile": "build",
    "genkey": "key",
    "summary": "inspect",
    "describe": "inspect",
    "lint": "check",
    "validate": "check",
    "freeze": "lock",
    "relock": "lock",
    "resolve": "lock",
    "bump": "lock",
    "compare": "diff",
    "changes": "diff",
    "changelog": "diff",
    "licenses": "sbom",
    "bom": "sbom",
    # everywhere
    "list": "status",
    "ls": "status",
    "log": "history",
    "logs": "history",
    "journal": "history",
    "doctor": "health",
    "state": "status",
    "deployments": "status",
    "preview": "plan",
    "dry-run": "plan",
    "simulate": "plan",
    "abort": "cancel",
    "stop": "cancel",
    "discard": "cancel",
    "setup": "install",
    "try": "vm",
    "man": "explain",
    "doc": "explain",
    "docs": "explain",
}
"""What other tools call it: what Atoll calls it, or will call it."""

ELSEWHERE = {
    "bash-completion": "completion comes with Atoll's Debian package, for bash, zsh and fish",
    "completion": "completion comes with Atoll's Debian package, for bash, zsh and fish",
    "completions": "completion comes with Atoll's Debian package, for bash, zsh and fish",
    "config": "a system's settings are in its recipe, atoll.toml: atoll explain lists them",
    "configure": "a system's settings are in its recipe, atoll.toml: atoll explain lists them",
    "daemon": "Atoll has no daemon; its units on a machine: systemctl list-units 'atoll*'",
    "login": "registries: podman login HOST; Atoll reads the same file",
    "logout": "registries: podman logout HOST; Atoll reads the same file",
    "mount": "to look into a tree: atoll tree ls oci:DIR:TAG; to run it: atoll vm",
    "passwd": "passwd, on the machine; in the recipe: atoll explain user.password",
    "poweroff": "systemctl poweroff",
    "reboot": "systemctl reboot; what boots next is shown by: atoll status",
    "restart": "systemctl reboot; what boots next is shown by: atoll status",
    "self-update": "on a machine Atoll comes with its image: atoll upgrade; else: apt upgrade",
    "settings": "a system's settings are in its recipe, atoll.toml: atoll explain lists them",
    "shutdown": "systemctl poweroff",
    "ssh": "into a virtual machine: atoll vm store:NAME --ssh-port 2222, then ssh -p 2222",
    "sudo": "sudo comes first: sudo atoll VERB",
}
"""Words that are no verb of Atoll's at all: what to do instead."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def unknown_verb(words: Sequence[str], verbs: Sequence[str]) -> UsageError:
    """What to tell somebody whose first word is none of ``verbs``."""
    word = words[0]
    if word.startswith("-"):
        return UsageError(f"the verb comes first, then {word}", hint="see: atoll --help")
    if re.search(r"[:/]|\.(toml|lock|img)$", word):
        verb = "check" if word.endswith(".toml") else "inspect"
        return UsageError(
            f"the verb comes first, then {word}", hint=f"such as: atoll {verb} {word}"
        )
    known = _answer(word, verbs) or _answer(word.lower(), verbs)
    if known is not None:
        return known
    from atoll.base.suggest import find_nearest

    near = find_nearest(word.lower(), (*verbs, *OURS, *NOT_YET, *ELSEWHERE))
    hint = "see: atoll --help"
    if near:
        ours = OURS.get(near[0], near[0])
        hint = f"did you mean: atoll {ours}" if ours in verbs else f"{near[0]}: {_today(near[0])}"
    return UsageError(f"there is no verb {word!r}", hint=hint)


def _answer(word: str, verbs: Sequence[str]) -> UsageError | None:
    """For a word that is known; None for any other."""
    if word in verbs:
        return UsageError(f"verbs are written small: {word}", hint=f"see: atoll {word} --help")
    if word in ELSEWHERE:
        return UsageError(f"there is no verb {word!r}", hint=ELSEWHERE[word])
    if word in NOT_YET:
        return UsageError(f"atoll {word} is not there yet", hint=_today(word))
    if word not in OURS:
        return None
    ours = OURS[word]
    if ours in verbs:
        message = f"there is no verb {word!r}; in Atoll it is: {ours}"
        return UsageError(message, hint=f"see: atoll {ours} --help")
    message = f"there is no verb {word!r}; in Atoll it will be: {ours}, which is not there yet"
    return UsageError(message, hint=_today(word))


def _today(word: str) -> str:
    return ELSEWHERE.get(word) or NOT_YET[OURS.get(word, word)]


def refuse_package_names(words: Sequence[str]) -> None:
    """``install htop`` means a package elsewhere; ours puts a system onto a disk."""
    given = words[1:]
    if words[0] != "install" or not given:
        return
    if any(not _PACKAGE.fullmatch(word) or os.access(word, os.F_OK) for word in given):
        return
    hint = f"put {', '.join(given)} into [packages] install of the recipe, then: atoll build"
    raise UsageError("atoll install puts a system onto a disk; it takes no packages", hint=hint)
