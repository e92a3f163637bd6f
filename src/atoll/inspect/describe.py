"""Describe a tree, a recipe or a lock by facets, for ``diff`` to compare."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from atoll.builder.steps.local_files import digest_input
from atoll.debian.dpkg_database import parse_package_details
from atoll.image.info import parse_info_fields
from atoll.image.packages import package_name, parse_package_list
from atoll.image.paths import IMAGE_INFO, PACKAGES
from atoll.inspect.attributes import argument_facet, group_facet, unit_facet, user_facet
from atoll.inspect.diff import Description
from atoll.tree.capabilities import find_privileged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from atoll.debian.pin import Pin
    from atoll.inspect.attributes import Facet
    from atoll.inspect.tree_source import OpenTree
    from atoll.lock.model import Lock
    from atoll.recipe.model import File, Group, Recipe, Units, User

_PASSWD, _SHADOW, _GROUP = "etc/passwd", "etc/shadow", "etc/group"
_TREE_FACETS = (
    "privileged",
    "packages",
    "kernel",
    "arguments",
    "units",
    "users",
    "groups",
    "settings",
)
_INFO_SETTINGS = ("name", "version", "suite", "components", "architecture", "architectures", "base")
_OTHER_FACETS = frozenset(
    (
        "file",
        "text",
        "sources",
        "variants",
        "packages",
        "kernel",
        "users",
        "groups",
        "files",
        "units",
        "local_files",
    )
)
"""Fields of a recipe that are not settings: they have their own facets, or are about its files."""
_CONTENT_SETTINGS = {
    "script.source": "scripts",
    "script.inputs": "scripts",
    "health.check.source": "health.checks",
    "repo.key": "repositories",
}
"""Keys of local files whose content counts as a setting, and the recipe field of their tables."""


def describe_tree(tree: OpenTree) -> Description:
    """Describe a tree. Raises Damaged if a record in it is invalid."""
    found = tree.contents([IMAGE_INFO, PACKAGES, _PASSWD, _SHADOW, _GROUP])
    info = parse_info_fields(found[IMAGE_INFO], where=tree.title) if IMAGE_INFO in found else {}
    architecture = info.get("architecture")
    own = architecture if isinstance(architecture, str) else None
    facets: dict[str, Facet] = {}
    sizes: Mapping[str, int] = {}
    if tree.root is not None:
        facets["privileged"] = {
            path.decode(errors="surrogateescape"): text
            for path, text in find_privileged(tree.root).items()
        }
        facets["units"] = unit_facet(tree.root)
        sizes, status = _read_sizes(tree, own)
        packages = _parse_list(found.get(PACKAGES), own, tree.title) or status
        facets |= {"packages": packages} if packages else {}
    facets |= _info_facets(info) | _account_facets(found)
    if tree.label is not None:
        facets.setdefault("packages", tree.label.packages)
        facets.setdefault("kernel", {"version": tree.label.kernel})
    return Description(
        title=tree.title,
        what="image" if tree.published else "tree",
        name=tree.name,
        version=tree.version,
        tree=tree.tree,
        facets=facets,
        unknown={
            name: _why_unknown(name, tree)
            for name in (*_TREE_FACETS, "files")
            if (tree.root is None if name == "files" else name not in facets)
        },
        sizes=sizes,
        files=tree.root,
    )


def describe_recipe(recipe: Recipe, lock: Lock | None, *, has_files: bool = True) -> Description:
    """Describe a recipe, and with its lock the exact packages.

    Local files are described by their content if it ``has_files``, else by their names.
    """
    local = _LocalFiles(recipe, has_files=has_files)
    facets: dict[str, Facet] = {
        "wishes": _package_requests(recipe, local),
        "kernel": {
            f"{each.name}.{item}": "yes"
            for each in fields(recipe.kernel)
            if each.name not in ("package", "args")
            for item in getattr(recipe.kernel, each.name)
        },
        "arguments": argument_facet(recipe.kernel.args),
        "units": _unit_settings(recipe.units),
        "users": {user.name: _format_account(user) for user in recipe.users},
        "groups": {group.name: _format_account(group) for group in recipe.groups},
        "recipe_files": {file.path: _format_file(file, local) for file in recipe.files},
        "settings": dict(_settings(recipe, local)),
    }
    if lock is not None:
        facets |= _pin_facets(lock)
    why = "no lock is beside the recipe"
    return Description(
        title=recipe.file,
        what="recipe",
        name=recipe.image.name,
        version=recipe.image.version,
        facets=facets,
        unknown={} if lock else {"packages": why},
        sizes=_pin_sizes(lock) if lock else {},
        sizes_of="package files",
    )


def describe_lock(lock: Lock, title: str) -> Description:
    """Describe a lock; ``title`` names it in the output."""
    settings: dict[str, str] = {
        "architecture": lock.architecture,
        "epoch": str(lock.epoch),
        "wishes": lock.wishes,
        "variant": lock.variant or "none",
        "tree": lock.tree or "not known yet",
    }
    if lock.base is not None:
        settings["base"] = f"{lock.base.reference} {lock.base.manifest} tree {lock.base.tree}"
    for archive in lock.archives:
        components = ",".join(archive.components)
        settings[f"archive {archive.name}"] = (
            f"{archive.uri} {archive.suite} {components} release {archive.release}"
        )
    settings |= {f"input {name}": digest for name, digest in lock.inputs}
    settings |= {f"tool {name}": version for name, version in lock.tools}
    return Description(
        title=title,
        what="lock",
        facets={
            **_pin_facets(lock),
            "wishes": dict.fromkeys(lock.asked, "asked"),
            "users": {name: f"uid={number}" for name, number in lock.users},
            "groups": {name: f"gid={number}" for name, number in lock.groups},
            "settings": settings,
        },
        sizes=_pin_sizes(lock),
        sizes_of="package files",
    )


def _read_sizes(tree: OpenTree, own: str | None) -> tuple[Mapping[str, int], Facet]:
    """Installed sizes (bytes) and versions from dpkg's database; empty if the tree has none."""
    packages = parse_package_details(tree.status() or "")
    named = {package_name(each.name, each.architecture, own): each for each in packages}
    sizes = {name: each.size for name, each in named.items() if each.size is not None}
    return sizes, {name: each.version for name, each in named.items()}


def _parse_list(data: bytes | None, own: str | None, title: str) -> Facet | None:
    if data is None:
        return None
    return parse_package_list(data, native=own, where=f"{title}: /{PACKAGES}")


def _info_facets(info: Mapping[str, object]) -> dict[str, Facet]:
    if not info:
        return {}
    arguments = info.get("args")
    texts = [str(each) for each in arguments] if isinstance(arguments, list) else []
    return {
        "kernel": {"version": str(info.get("kernel", "none"))},
        "arguments": argument_facet(texts),
        "settings": {key: _format_value(info[key]) for key in _INFO_SETTINGS if info.get(key)},
    }


def _format_value(value: object) -> str:
    """A JSON value as one line of text."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return str(value)
    return " ".join(str(each) for each in value)


def _account_facets(found: Mapping[str, bytes]) -> dict[str, Facet]:
    texts = {path: data.decode(errors="surrogateescape") for path, data in found.items()}
    facets: dict[str, Facet] = {}
    if _PASSWD in texts:
        facets["users"] = user_facet(texts[_PASSWD], texts.get(_SHADOW))
    if _GROUP in texts:
        facets["groups"] = group_facet(texts[_GROUP])
    return facets


def _why_unknown(name: str, tree: OpenTree) -> str:
    if tree.root is None:
        return "the image has no table of contents: pull it, then compare store:NAME"
    return {
        "packages": "it has no list of packages",
        "users": f"it has no /{_PASSWD}",
        "groups": f"it has no /{_GROUP}",
    }.get(name, f"it has no /{IMAGE_INFO}")


def _pin_facets(lock: Lock) -> dict[str, Facet]:
    named = {_pin_name(pin, lock): pin for pin in lock.packages}
    return {
        "packages": {name: pin.version for name, pin in named.items()},
        "package_files": {f"{name} {pin.version}": pin.sha256 for name, pin in named.items()},
    }


def _pin_sizes(lock: Lock) -> dict[str, int]:
    return {_pin_name(pin, lock): pin.size for pin in lock.packages}


def _pin_name(pin: Pin, lock: Lock) -> str:
    return package_name(pin.name, pin.architecture, lock.architecture)


def _package_requests(recipe: Recipe, local: _LocalFiles) -> Facet:
    packages = recipe.packages
    found = dict.fromkeys(packages.install, "install")
    found |= {name: f"install {local.content(name)}" for name in packages.local}
    found |= dict.fromkeys(packages.remove, "remove")
    found |= {f"{name} (version)": version for name, version in packages.versions}
    found |= {f"{name} (from)": source for name, source in packages.sources}
    found |= {f"{line} (debconf)": "yes" for line in packages.debconf}
    if recipe.kernel.package:
        found[f"{recipe.kernel.package} (kernel)"] = "install"
    return found | ({"recommends": "yes"} if packages.recommends else {})


def _settings(recipe: Recipe, local: _LocalFiles) -> Iterator[tuple[str, str]]:
    """All other values of a recipe, each with its key: ``system.hostname``."""
    yield "from", type(recipe.base).__name__.removesuffix("Base").lower()
    for each in fields(recipe):
        if each.name not in _OTHER_FACETS:
            yield from _flatten(each.name, getattr(recipe, each.name))
    for key, name, row in recipe.local_files:
        if key in _CONTENT_SETTINGS:
            part = f".inputs[{name}]" if key == "script.inputs" else ""
            yield f"{_CONTENT_SETTINGS[key]}[{row}]{part}.content", local.content(name)


def _unit_settings(units: Units) -> Facet:
    found: dict[str, str] = {}
    for state, names, user_names in (
        ("enabled", units.enable, units.user_enable),
        ("disabled", units.disable, units.user_disable),
        ("masked", units.mask, units.user_mask),
    ):
        found |= dict.fromkeys(names, state)
        found |= {f"{name} (user)": state for name in user_names}
    return found | {f"{unit} (drop-in)": _digest(text.encode()) for unit, text in units.dropins}


def _format_account(account: User | Group) -> str:
    """All fields of an account except its name; of a password only whether it is set."""
    texts = []
    for each in fields(account):
        value = getattr(account, each.name)
        if each.name == "password_hash":
            texts.append(f"password={'locked' if value is None else 'set'}")
        elif each.name == "ssh_keys":
            texts += [f"ssh_key={_digest(key.encode())}" for key in value]
        elif each.name != "name" and value not in (None, "", (), False):
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            texts.append(f"{each.name}={text}")
    return " ".join(texts)


def _format_file(file: File, local: _LocalFiles) -> str:
    owner = f"{file.mode:04o} {file.owner}:{file.group}"
    if file.link is not None:
        return f"link to {file.link}"
    if file.url is not None:
        return f"{owner} {file.url} sha256 {file.sha256}"
    if file.source is not None:
        return f"{owner} {local.content(file.source)}"
    return f"{owner} {_size_and_digest((file.text or '').encode())}"


class _LocalFiles:
    """The local files that a recipe names."""

    def __init__(self, recipe: Recipe, *, has_files: bool) -> None:
        self._recipe = recipe
        self._has_files = has_files

    def content(self, name: str) -> str:
        """Size and digest of a file, or the digest of a directory with everything in it; only the
        name without the files."""
        if not self._has_files:
            return f"from {name}"
        path = self._recipe.resolve(name)
        if path.is_dir():
            return f"sha256 {digest_input(path)[:16]}"
        return _size_and_digest(path.read_bytes())


def _size_and_digest(data: bytes) -> str:
    return f"{len(data)} bytes {_digest(data)}"


def _digest(data: bytes) -> str:
    return f"sha256 {sha256(data).hexdigest()[:16]}"


def _flatten(path: str, value: object) -> Iterator[tuple[str, str]]:
    """Every value below a field that is set, with its key."""
    if is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from _flatten(f"{path}.{each.name}", getattr(value, each.name))
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from _flatten(f"{path}[{getattr(item, 'name', number)}]", item)
    elif isinstance(value, str) and "\n" in value:
        yield path, _size_and_digest(value.encode())
    elif value is not None and value != "":
        yield path, str(value)
