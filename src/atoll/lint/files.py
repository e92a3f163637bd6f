"""Lints of files: missing ones, modes, what packages ship, /var, and the recipe's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atoll.base.errors import RecipeError
from atoll.build.finish.var_rules import match_var_rule, merge_rules
from atoll.lint.model import FactKind, Finding, Lint, Severity
from atoll.lint.names import local_files, merged
from atoll.tree.identities import has_private_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.lint.model import LintSubject

_SHOWN = 5


def check_local(subject: LintSubject) -> Iterator[Finding]:
    for key, name, _ in local_files(subject.recipe):
        found = subject.facts.local.get(name)
        where = subject.recipe.resolve(name)
        if found is None:
            message, hint = f"{name} is not there", f"it was looked for here: {where}"
        elif found.kind == "other" or (found.kind == "directory" and key != "script.inputs"):
            message, hint = f"{name} is no file", f"it is here: {where}"
        elif key == "packages.install" and found.package is None:
            message, hint = f"{name} is no Debian package", "see: dpkg-deb --info " + str(where)
        else:
            continue
        yield Finding(message=message, hint=hint, key=key, value=name)


def check_world_writable(subject: LintSubject) -> Iterator[Finding]:
    for file in subject.recipe.files:
        if file.link is None and file.mode & 0o002:
            yield Finding(
                message=f"{file.path} can be written by anybody",
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
                hint="a systemd unit or a rule for sudo is easier to get right",
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
            message=f"{what} has a private key: who has the image has it",
            hint="make it on each machine, in a unit that runs once; or hand it to the machine as a"
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
                hint="most programs read changes from a file of their own, in /etc or a .d folder",
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
        shown = ", ".join(sorted(paths)[:_SHOWN]) + (", …" if len(paths) > _SHOWN else "")
        yield Finding(
            message=f"no rule says who owns these of {package}, tree or machine: {shown}",
            hint="say it in [var]: tree, state or drop",
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
                message=f"{package} ships {path}, and /usr/local is the machine's",
                hint="leave the package out, or pack it for /usr or /opt",
                key="packages.install",
                value=package,
            )


def check_network(subject: LintSubject) -> Iterator[Finding]:
    for script in subject.recipe.scripts:
        if script.network:
            yield Finding(
                message=f"the script {script.name} uses the network, so nothing pins what it gets",
                hint="fetch by [[file]] url and sha256, and give it to the script as an input",
                key="script.name",
                value=script.name,
            )


def check_lock(subject: LintSubject) -> Iterator[Finding]:
    if subject.lock is None:
        yield Finding(
            message="there is no lock: the next build takes what the mirror has that day",
            hint="make it with: atoll lock",
        )


def check_stale(subject: LintSubject) -> Iterator[Finding]:
    lock, facts = subject.lock, subject.facts
    if lock is None:
        return
    again = "take it in with: atoll lock"
    if facts.asked is not None and facts.asked != lock.asked:
        news = [f"+ {line}" for line in facts.asked if line not in lock.asked]
        news += [f"- {line}" for line in lock.asked if line not in facts.asked]
        shown = "; ".join(news[:_SHOWN]) + ("; …" if len(news) > _SHOWN else "")
        yield Finding(message=f"the lock is of another recipe: {shown}", hint=again)
    for name, digest in lock.inputs:
        found = facts.local.get(name)
        if found is not None and found.sha256 not in (None, digest):
            yield Finding(message=f"{name} is not what the lock has of it", hint=again)


LINTS = (
    Lint(
        name="local-missing",
        severity=Severity.FATAL,
        summary="a local file, script, key or package is not there",
        why="Names are relative to the folder of the recipe.",
        check=check_local,
    ),
    Lint(
        name="world-writable",
        severity=Severity.FATAL,
        summary="anybody can write a file of the recipe",
        why="What anybody can write, anybody can make do what they want.",
        check=check_world_writable,
    ),
    Lint(
        name="setuid-file",
        severity=Severity.WARNING,
        summary="a file of the recipe runs with other rights than its caller's",
        why="Each such program is a door; `atoll diff` lists those that a new version adds.",
        check=check_setuid,
    ),
    Lint(
        name="private-key",
        severity=Severity.WARNING,
        summary="a file or script of the recipe has a private key in it",
        why="An image is read by whoever can pull it, and all machines would share the key. Keys "
        "are known by how they begin: PEM, OpenSSH, PGP, age, WireGuard, PuTTY, minisign and more.",
        check=check_private_keys,
    ),
    Lint(
        name="file-shadows-package",
        severity=Severity.WARNING,
        summary="a file of the recipe replaces one that a package ships",
        why="Files are written after the packages are in. What the package's next version has "
        "there is never seen. In /etc that is usual, so it is not told.",
        check=check_shadows,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="var-uncovered",
        severity=Severity.FATAL,
        summary="a package ships files in /var that no rule covers",
        why="What is in /var belongs to the tree (it travels and rolls back with it) or to the "
        "machine (it is seeded once). The build fails where nothing says which.",
        check=check_var,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="package-in-usr-local",
        severity=Severity.FATAL,
        summary="a package ships files in /usr/local",
        why="/usr/local is the machine's own, so nothing of a tree can be there: the build fails.",
        check=check_usr_local,
        needs=(FactKind.CONTENTS,),
    ),
    Lint(
        name="script-network",
        severity=Severity.WARNING,
        summary="a script uses the network",
        why="What a network gives is not pinned by the lock, so a lock may give two trees.",
        check=check_network,
    ),
    Lint(
        name="lock-missing",
        severity=Severity.WARNING,
        summary="the recipe has no lock",
        why="A lock pins every input. Without one two builds on two days differ.",
        check=check_lock,
    ),
    Lint(
        name="lock-stale",
        severity=Severity.FATAL,
        summary="the lock does not fit the recipe any more",
        why="A build never moves a lock that is there, so it would not do what the recipe says.",
        check=check_stale,
    ),
)
