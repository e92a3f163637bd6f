"""Lints of files: missing files, modes, private keys, files of packages, /var, and the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.builder.finish.var_rules import match_var_rule, merge_rules
from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.names import local_files, merged
from atoll.tree.identities import has_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintSubject

_LISTED = 5


def check_local(subject: LintSubject) -> Iterator[Finding]:
    for key, name, _ in local_files(subject.recipe):
        found = subject.facts.local.get(name)
        where = subject.recipe.resolve(name)
        if found is None:
            message, hint = f"{name} does not exist", f"Atoll looked for it at: {where}"
        elif found.kind == "other" or (found.kind == "directory" and key != "script.inputs"):
            message, hint = f"{name} is not a file", f"it is at: {where}"
        elif key == "packages.install" and found.package is None:
            message, hint = f"{name} is not a Debian package", "see: dpkg-deb --info " + str(where)
        else:
            continue
        yield Finding(message=message, hint=hint, key=key, value=name)


def check_world_writable(subject: LintSubject) -> Iterator[Finding]:
    for file in subject.recipe.files:
        if file.link is None and file.mode & 0o002:
            yield Finding(
                message=f"{file.path} is writable by everyone",
                hint=f'mode = "{file.mode & ~0o002:04o}"',
                key="file.path",
                value=file.path,
            )


def check_setuid(subject: LintSubject) -> Iterator[Finding]:
    for file in subject.recipe.files:
        if file.link is None and file.mode & 0o6000:
            who = file.owner if file.mode & 0o4000 else f"the group {file.group}"
            yield Finding(
                message=f"{file.path} runs as {who}, whoever starts it",
                hint="a systemd unit or a sudo rule is safer",
                key="file.path",
                value=file.path,
            )


def check_private_keys(subject: LintSubject) -> Iterator[Finding]:
    recipe = subject.recipe
    texts = [("file.path", file.path, file.text) for file in recipe.files]
    texts += [("script.name", script.name, script.text) for script in recipe.scripts]
    named = [
        (key, name, f"the text of {name}")
        for key, name, text in texts
        if text is not None and has_private_key(text.encode())
    ]
    for key, name, _ in local_files(recipe):
        found = subject.facts.local.get(name)
        if found is not None and found.secret:
            named.append((key, name, name))
    for key, name, what in named:
        yield Finding(
            message=f"{what} contains a private key, which everyone who has the image can read",
            hint="create it on each machine with a unit that runs once, or pass it as a"
            " systemd credential",
            key=key,
            value=name,
        )


def check_shadows(subject: LintSubject) -> Iterator[Finding]:
    contents = subject.facts.contents
    assert contents is not None
    for file in subject.recipe.files:
        package = contents.owners.get(merged(file.path))
        if package is not None and not file.path.startswith("/etc/"):
            yield Finding(
                message=f"{file.path} replaces a file of the package {package}",
                hint="put the change in a file of its own, in /etc or in a .d folder",
                key="file.path",
                value=file.path,
            )


def check_var(subject: LintSubject) -> Iterator[Finding]:
    contents = subject.facts.contents
    assert contents is not None
    try:
        rules = merge_rules(subject.recipe.var)
    except RecipeError as error:
        yield Finding(message=error.message, hint=error.hint, key="var")
        return
    homes = tuple(f"{user.home}/" for user in subject.recipe.users)
    lost: dict[str, list[str]] = {}
    for path, package in contents.owners.items():
        covered = match_var_rule(path, rules) is not None or path.startswith(homes)
        if path.startswith("/var/") and not covered:
            lost.setdefault(package, []).append(path)
    for package, paths in sorted(lost.items()):
        shown = ", ".join(sorted(paths)[:_LISTED]) + (", …" if len(paths) > _LISTED else "")
        yield Finding(
            message=f"no rule says whether these files of {package} belong "
            f"to the tree or the machine: {shown}",
            hint="add a rule to [var]: tree, state or drop",
            key="var",
        )


def check_usr_local(subject: LintSubject) -> Iterator[Finding]:
    contents = subject.facts.contents
    assert contents is not None
    inside = {
        path: package for path, package in contents.owners.items() if path.startswith("/usr/local/")
    }
    parents = {path.rpartition("/")[0] for path in inside}
    usual = ("bin", "etc", "games", "include", "lib", "man", "sbin", "share", "src")
    for path, package in sorted(inside.items()):
        if path not in parents and path.removeprefix("/usr/local/") not in usual:
            yield Finding(
                message=f"{package} ships {path}, but /usr/local belongs to the machine",
                hint="do not install the package, or rebuild it for /usr or /opt",
                key="packages.install",
                value=package,
            )


def check_network(subject: LintSubject) -> Iterator[Finding]:
    for script in subject.recipe.scripts:
        if script.network:
            yield Finding(
                message=f"the script {script.name} uses the network, so nothing pins what it gets",
                hint="download it with [[file]] url and sha256, and name it in the script's inputs",
                key="script.name",
                value=script.name,
            )


def check_lock(subject: LintSubject) -> Iterator[Finding]:
    if subject.lock is None:
        yield Finding(
            message="there is no lock: the next build uses whatever the mirror has that day",
            hint="create it with: atoll lock",
        )


def check_stale(subject: LintSubject) -> Iterator[Finding]:
    lock, facts = subject.lock, subject.facts
    if lock is None:
        return
    update_hint = "update the lock with: atoll lock"
    if facts.requirements is not None and facts.requirements != lock.asked:
        changes = [f"+ {line}" for line in facts.requirements if line not in lock.asked]
        changes += [f"- {line}" for line in lock.asked if line not in facts.requirements]
        shown = "; ".join(changes[:_LISTED]) + ("; …" if len(changes) > _LISTED else "")
        yield Finding(message=f"the lock does not fit the recipe: {shown}", hint=update_hint)
    for name, digest in lock.inputs:
        found = facts.local.get(name)
        if found is not None and found.sha256 not in (None, digest):
            yield Finding(message=f"{name} changed since it was locked", hint=update_hint)


LINTS = (
    Lint(
        name="local-missing",
        severity=Severity.FATAL,
        summary="a local file, script, key or package does not exist",
        why="Names are relative to the recipe's folder.",
        check=check_local,
    ),
    Lint(
        name="world-writable",
        severity=Severity.FATAL,
        summary="a file of the recipe is writable by everyone",
        why="Any user or service of the machine could change it.",
        check=check_world_writable,
    ),
    Lint(
        name="setuid-file",
        severity=Severity.WARNING,
        summary="a file of the recipe is setuid or setgid",
        why="Each such program can give a user more rights; `atoll "
        "diff` lists those that an update adds.",
        check=check_setuid,
    ),
    Lint(
        name="private-key",
        severity=Severity.WARNING,
        summary="a file or script of the recipe contains a private key",
        why="Whoever can pull the image can read the key, and all machines share it. Atoll detects "
        "keys by how they begin: PEM, OpenSSH, PGP, age, WireGuard, PuTTY, minisign and more.",
        check=check_private_keys,
    ),
    Lint(
        name="file-shadows-package",
        severity=Severity.WARNING,
        summary="a file of the recipe replaces one that a package ships",
        why="Files are written after the packages are installed, "
        "so an update of the package cannot "
        "change that file. In /etc this is normal and not reported.",
        check=check_shadows,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="var-uncovered",
        severity=Severity.FATAL,
        summary="a package ships files in /var that no rule covers",
        why="A path in /var belongs to the tree (it is updated and rolled back with it) or to the "
        "machine (it is copied there once). The build fails if no rule says which.",
        check=check_var,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="package-in-usr-local",
        severity=Severity.FATAL,
        summary="a package ships files in /usr/local",
        why="/usr/local belongs to the machine, so a tree can have "
        "no files there: the build fails.",
        check=check_usr_local,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="script-network",
        severity=Severity.WARNING,
        summary="a script uses the network",
        why="The lock does not pin what a script downloads, so two builds may differ.",
        check=check_network,
    ),
    Lint(
        name="lock-missing",
        severity=Severity.WARNING,
        summary="the recipe has no lock",
        why="A lock pins every input. Without one, builds on different days differ.",
        check=check_lock,
    ),
    Lint(
        name="lock-stale",
        severity=Severity.FATAL,
        summary="the lock no longer fits the recipe",
        why="A build never changes the packages of an existing lock, so it refuses.",
        check=check_stale,
    ),
)
