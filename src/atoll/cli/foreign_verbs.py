"""Answers to verbs of other tools, and to planned verbs that Atoll does not have yet.

None of them runs: ``unknown_verb`` names Atoll's verb, or another way to do it. Hints elsewhere may
name only verbs that exist.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from atoll.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_COPY = "use skopeo: skopeo copy oci:DIR:TAG docker://HOST/NAME:TAG"
_SIGN = "images are not signed yet; every file is verified against the tree digest"

NOT_YET = {
    "app": "use Flatpak: flatpak install APP, or for one user: flatpak install --user APP",
    "box": "use a container: podman run -it --rm debian:trixie",
    "copy": _COPY,
    "delta": "there are no deltas yet; upgrades fetch only missing files",
    "fsck": "to check all stored data: atoll store check",
    "how": "see: atoll --help, or for a key of the recipe: atoll explain KEY",
    "key": _SIGN,
    "profile": "add the packages to [packages] install in the recipe",
    "promote": "use skopeo: skopeo copy docker://HOST/NAME:TAG docker://HOST/NAME:STABLE",
    "push": "atoll build --output oci:DIR:TAG, then: skopeo copy oci:DIR:TAG docker://…",
    "shell": "to use a program temporarily: podman run -it --rm debian:trixie",
    "sign": _SIGN,
    "verify": "to compare two builds: atoll build --verify; for the store: atoll store check",
    "why": "to see why a package is needed: aptitude why PACKAGE",
    "withdraw": "delete the tag in the registry: skopeo delete docker://HOST/NAME:TAG",
}
"""Planned verbs that this version lacks, with what to do instead."""

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
    "unattended-upgrade": "auto",
    "unattended-upgrades": "auto",
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
"""Verbs of other tools, with Atoll's verb, which may be a planned one."""

ELSEWHERE = {
    "bash-completion": "the Debian package of Atoll installs completion for bash, zsh and fish",
    "completion": "the Debian package of Atoll installs completion for bash, zsh and fish",
    "completions": "the Debian package of Atoll installs completion for bash, zsh and fish",
    "config": "settings are in the recipe, atoll.toml; to list them: atoll explain",
    "configure": "settings are in the recipe, atoll.toml; to list them: atoll explain",
    "daemon": "Atoll has no daemon; to list its units: systemctl list-units 'atoll*'",
    "login": "use podman login HOST; Atoll reads the same credentials",
    "logout": "use podman logout HOST; Atoll reads the same credentials",
    "mount": "to list a tree: atoll tree ls oci:DIR:TAG; to run it: atoll vm",
    "passwd": "use passwd on the machine; for the recipe see: atoll explain user.password",
    "poweroff": "use: systemctl poweroff",
    "reboot": "use systemctl reboot; atoll status shows what boots next",
    "restart": "use systemctl reboot; atoll status shows what boots next",
    "self-update": "on an Atoll system: atoll upgrade; elsewhere: apt upgrade",
    "settings": "settings are in the recipe, atoll.toml; to list them: atoll explain",
    "shutdown": "use: systemctl poweroff",
    "ssh": "to a virtual machine: atoll vm store:NAME --ssh-port 2222, then: ssh -p 2222",
    "sudo": "put sudo first: sudo atoll VERB",
}
"""Words that will not become verbs, with what to do instead."""

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def unknown_verb(words: Sequence[str], verbs: Sequence[str]) -> UsageError:
    """The error for a first word that is not in ``verbs``."""
    word = words[0]
    if word.startswith("-"):
        return UsageError(f"the verb must come before {word}", hint="see: atoll --help")
    if re.search(r"[:/]|\.(toml|lock|img)$", word):
        verb = "check" if word.endswith(".toml") else "inspect"
        return UsageError(
            f"the verb must come before {word}", hint=f"for example: atoll {verb} {word}"
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
    """The error for a known word; None for an unknown one."""
    if word in verbs:
        return UsageError(f"verbs are in lower case: {word}", hint=f"see: atoll {word} --help")
    if word in ELSEWHERE:
        return UsageError(f"there is no verb {word!r}", hint=ELSEWHERE[word])
    if word in NOT_YET:
        return UsageError(f"atoll {word} is not implemented yet", hint=_today(word))
    if word not in OURS:
        return None
    ours = OURS[word]
    if ours in verbs:
        message = f"there is no verb {word!r}; Atoll calls it {ours}"
        return UsageError(message, hint=f"see: atoll {ours} --help")
    message = f"there is no verb {word!r}; it will be atoll {ours}, which is not implemented yet"
    return UsageError(message, hint=_today(word))


def _today(word: str) -> str:
    return ELSEWHERE.get(word) or NOT_YET[OURS.get(word, word)]


def refuse_package_names(words: Sequence[str]) -> None:
    """Raises UsageError for ``install htop``: atoll install installs systems, not packages."""
    given = words[1:]
    if words[0] != "install" or not given:
        return
    from atoll.cli.arguments import ROLES  # loads argparse, which atoll --help does without

    if any(
        word in ROLES or not _PACKAGE.fullmatch(word) or os.access(word, os.F_OK) for word in given
    ):
        return
    hint = f"to add packages to this machine: atoll add {' '.join(given)}"
    if len(given) == 1:
        hint += f"; for an image of the store: atoll install store:{given[0]}"
    raise UsageError("atoll install installs a system to a disk, not packages", hint=hint)
