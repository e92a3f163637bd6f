"""Convert merged tables into a ``Recipe``, and check what single values cannot show."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from atoll.image.info import VarRules
from atoll.recipe import model
from atoll.recipe.language.check_packages import SNAPSHOT, is_local_package, is_suite_of_debian
from atoll.recipe.language.check_policy import is_local
from atoll.recipe.language.convert_accounts import convert_groups, convert_users
from atoll.recipe.language.local_files import find_local_files
from atoll.tree.cmdline import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atoll.recipe.language.includes import LoadedRecipe
    from atoll.recipe.language.merge import MergedTable


def convert_recipe(top: MergedTable, loaded: LoadedRecipe, variant: str | None) -> model.Recipe:
    """Convert a merged recipe. If this adds problems to ``top.problems``, discard the result."""
    source = loaded.sources[0]
    base = _base(top, source.file)
    repositories = tuple(_repository(table) for table in top.each("repo"))
    return model.Recipe(
        file=source.file,
        text=source.text,
        variant=variant,
        variants=loaded.variants,
        sources=tuple((source.name, source.text) for source in loaded.sources),
        base=base,
        image=_image(top.within("image"), variant),
        debian=_debian(top.within("debian"), base),
        repositories=repositories,
        packages=_packages(top.within("packages"), base, repositories),
        kernel=_kernel(top.within("kernel")),
        boot=_boot(top.within("boot")),
        system=_system(top.within("system")),
        users=convert_users(top),
        groups=convert_groups(top),
        files=_files(top),
        scripts=tuple(_script(table) for table in top.each("script")),
        units=_units(top.within("units")),
        etc=top.pairs("etc"),
        var=_var(top.within("var")),
        update=_update(top.within("update")),
        health=_health(top.within("health")),
        keep=top.within("keep").optional_number("deployments"),
        publish=_publish(top.within("publish")),
        flatpak=_flatpak(top.within("flatpak")),
        boxes=tuple(_box(table) for table in top.each("box")),
        local_files=tuple(reference for reference, _ in find_local_files(top)),
    )


def _base(top: MergedTable, file: str) -> model.Base:
    text = top.text("from")
    if text == "empty":
        return model.EmptyBase()
    if not text or text.startswith("debian:"):
        return model.DebianBase(suite=text.removeprefix("debian:"))
    if is_local(text):
        path, _, variant = text.partition("#")
        return model.RecipeBase(path=Path(file).parent / path, variant=variant or None)
    return model.ImageBase(reference=text)


def _image(table: MergedTable, variant: str | None) -> model.Image:
    name = table.text("name")
    if variant and table.location_of("name").key[:1] != ("variant",):
        name = f"{name}-{variant}"
        if len(name) > 64:
            table.flaw("name", f"{name} is longer than an image's name can be")
    return model.Image(
        name=name,
        version=table.text("version"),
        description=table.text("description"),
        labels=tuple(sorted(table.pairs("labels"))),
    )


def _debian(table: MergedTable, base: model.Base) -> model.Debian:
    suite = table.optional_text("suite")
    if isinstance(base, model.DebianBase):
        if suite and base.suite and suite != base.suite:
            table.flaw("suite", f"is {suite}, but from says {base.suite}", "take this one out")
        suite = base.suite
    elif isinstance(base, model.EmptyBase) and not table.has("suite"):
        table.flaw("suite", "is missing", 'from = "empty" needs it, such as: suite = "trixie"')
    _refuse_empty(table, "components", "is empty", 'such as: components = ["main"]')
    converted = model.Debian(
        suite=suite,
        components=table.texts("components") or None,
        architectures=table.texts("architectures"),
        mirror=table.optional_text("mirror"),
        security_mirror=table.optional_text("security_mirror"),
        snapshot=table.optional_text("snapshot"),
        security=table.boolean("security"),
        updates=table.boolean("updates"),
    )
    _check_snapshot(table, converted)
    return converted


def _check_snapshot(table: MergedTable, debian: model.Debian) -> None:
    mirrors = {"mirror": debian.mirror or "", "security_mirror": debian.security_mirror or ""}
    if not table.has("snapshot"):
        for name, mirror in mirrors.items():
            if SNAPSHOT in mirror:
                hint = 'such as: snapshot = "20260820T000000Z"'
                table.flaw(name, f"has {SNAPSHOT} in it, but no snapshot is chosen", hint)
    elif SNAPSHOT not in mirrors["mirror"] and not (table.has("mirror") and not mirrors["mirror"]):
        hint = f'such as: mirror = "https://snapshot.example/debian/{SNAPSHOT}"'
        table.flaw("snapshot", f"needs a mirror with {SNAPSHOT} in it", hint)


def _repository(table: MergedTable) -> model.Repository:
    converted = model.Repository(
        name=table.text("name"),
        uris=table.texts("uris"),
        suites=table.texts("suites"),
        components=table.texts("components"),
        architectures=table.texts("architectures"),
        key=table.text("key"),
        priority=table.optional_number("priority"),
        keep=table.boolean("keep"),
    )
    _refuse_empty(table, "uris", "has no URI")
    _refuse_empty(table, "suites", "has no suite")
    flat = [suite for suite in converted.suites if suite.endswith("/")]
    if flat and table.has("components"):
        table.flaw("components", f"{flat[0]} is a folder, which has none", "take it out")
    if len(flat) < len(converted.suites) and not table.has("components"):
        table.flaw("components", "is missing", 'such as: components = ["main"]')
    if converted.priority == 0:
        table.flaw(
            "priority", "apt ignores the priority 0", "below 0 never, 500 as everything else"
        )
    return converted


def _packages(
    table: MergedTable, base: model.Base, repositories: tuple[model.Repository, ...]
) -> model.Packages:
    wanted = table.texts("install")
    remove = table.texts("remove")
    if not table.values.get("install") and isinstance(base, model.DebianBase | model.EmptyBase):
        hint = 'a system needs an init and a kernel: ["systemd-sysv", "linux-image-amd64"]'
        table.flaw("install", "names no package", hint)
    rule = table.rule.find_key("install")
    assert rule is not None
    for name in sorted({rule.item_key(item) for item in wanted} & set(remove)):
        table.flaw("remove", f"{name} is in both install and remove", item=name)
    known = {repository.name for repository in repositories}
    for name, source in table.pairs("sources"):
        if source not in known and not is_suite_of_debian(source):
            hint = f'write [[repo]] with: name = "{source}"'
            table.flaw(
                "sources",
                f"{source} is neither a [[repo]] of this recipe nor a Debian suite",
                hint,
                item=name,
            )
    return model.Packages(
        install=tuple(item for item in wanted if not is_local_package(item)),
        local=tuple(filter(is_local_package, wanted)),
        remove=remove,
        versions=table.pairs("versions"),
        sources=table.pairs("sources"),
        recommends=table.boolean("recommends"),
        debconf=table.texts("debconf"),
    )


def _kernel(table: MergedTable) -> model.Kernel:
    args = table.texts("args")
    if sum(len(arg) + 1 for arg in args) > LONGEST:
        table.flaw("args", f"are longer than {LONGEST} characters together")
    lists = {name: table.texts(name) for name in ("modules", "initrd_modules", "blacklist")}
    for name in ("modules", "initrd_modules"):
        _refuse_both(table, name, "blacklist")
    return model.Kernel(
        package=table.optional_text("package"),
        args=args,
        remove_args=table.texts("remove_args"),
        **lists,
    )


def _boot(table: MergedTable) -> model.Boot:
    return model.Boot(timeout=table.optional_number("timeout"), title=table.optional_text("title"))


def _system(table: MergedTable) -> model.System:
    return model.System(
        hostname=table.optional_text("hostname"),
        locale=table.optional_text("locale"),
        locales=table.texts("locales"),
        timezone=table.optional_text("timezone"),
        keymap=table.optional_text("keymap"),
    )


def _files(top: MergedTable) -> tuple[model.File, ...]:
    files = [(table, _file(table)) for table in top.each("file")]
    plain = {file.path for _, file in files if file.path}
    for table, file in files:
        for parent in PurePosixPath(file.path).parents:
            if str(parent) in plain:
                table.flaw("path", f"{parent} is a file, so nothing can be below it")
    return tuple(file for _, file in files)


def _file(table: MergedTable) -> model.File:
    present = _exactly_one(table, ("text", "source", "url", "link"), "path", "a file")
    if present == "link" and table.has("mode"):
        table.flaw("mode", "has no effect: a link has none", "take it out")
    if present == "url" and not table.has("sha256"):
        hint = "so that everyone gets the same file; see: sha256sum"
        table.flaw("url", "needs sha256 beside it", hint)
    if table.has("sha256") and present != "url":
        table.flaw("sha256", "has no effect without url", "take it out")
    return model.File(
        path=table.text("path"),
        text=table.optional_text("text"),
        source=table.optional_text("source"),
        url=table.optional_text("url"),
        sha256=table.optional_text("sha256"),
        link=table.optional_text("link"),
        mode=int(table.text("mode"), 8),
        owner=table.text("owner"),
        group=table.text("group"),
    )


def _script(table: MergedTable) -> model.Script:
    _exactly_one(table, ("text", "source"), "name", "a script")
    inputs = table.texts("inputs")
    seen: dict[str, str] = {}
    for item in inputs:
        name = PurePosixPath(item).name
        if seen.setdefault(name, item) != item:
            message = f"{seen[name]} and {item} would both be /run/atoll/inputs/{name}"
            table.flaw("inputs", message, item=item)
    return model.Script(
        name=table.text("name"),
        text=table.optional_text("text"),
        source=table.optional_text("source"),
        inputs=inputs,
        network=table.boolean("network"),
    )


def _units(table: MergedTable) -> model.Units:
    user = table.within("user")
    for lists in (table, user):
        _refuse_both(lists, "disable", "enable")
        _refuse_both(lists, "mask", "enable")
        _refuse_both(lists, "mask", "disable")
    return model.Units(
        enable=table.texts("enable"),
        disable=table.texts("disable"),
        mask=table.texts("mask"),
        user_enable=user.texts("enable"),
        user_disable=user.texts("disable"),
        user_mask=user.texts("mask"),
        dropins=tuple(sorted(table.pairs("dropin"))),
    )


def _var(table: MergedTable) -> VarRules:
    _refuse_both(table, "state", "tree")
    _refuse_both(table, "drop", "tree")
    _refuse_both(table, "drop", "state")
    return VarRules(tree=table.texts("tree"), state=table.texts("state"), drop=table.texts("drop"))


def _update(table: MergedTable) -> model.Update:
    return model.Update(
        follow=table.optional_text("follow"),
        auto=table.text("auto"),
        window=table.text("window"),
        delay=table.number("delay"),
        layers=table.text("layers"),
        reboot_window=table.optional_text("reboot_window"),
        metered=table.boolean("metered"),
        battery=table.boolean("battery"),
        reserve=table.number("reserve"),
    )


def _health(table: MergedTable) -> model.Health:
    checks = []
    for check in table.each("check"):
        _exactly_one(check, ("text", "source"), "name", "a check")
        checks.append(
            model.HealthCheck(
                name=check.text("name"),
                text=check.optional_text("text"),
                source=check.optional_text("source"),
            )
        )
    return model.Health(units=table.texts("units"), checks=tuple(checks))


def _publish(table: MergedTable) -> model.Publish:
    return model.Publish(to=table.optional_text("to"), tags=table.texts("tags"))


def _flatpak(table: MergedTable) -> model.Flatpak:
    return model.Flatpak(
        remotes=tuple(sorted(table.pairs("remotes"))), install=table.texts("install")
    )


def _box(table: MergedTable) -> model.Box:
    return model.Box(
        name=table.text("name"),
        image=table.text("image"),
        packages=table.texts("packages"),
        home=table.boolean("home"),
    )


def _exactly_one(table: MergedTable, names: tuple[str, ...], row: str, what: str) -> str | None:
    """The one of ``names`` that is set; reports a problem if there is none or more than one."""
    present = [name for name in names if table.has(name)]
    for name in present[1:]:
        hint = f"{what} has one of them: take the other out"
        table.flaw(name, f"{present[0]} is there too", hint)
    if not present:
        table.flaw(row, "has no content", 'write: text = "…", or: source = "a local file"')
    return present[0] if present else None


def _refuse_empty(table: MergedTable, name: str, message: str, hint: str | None = None) -> None:
    if table.has(name) and not table.values[name]:
        table.flaw(name, message, hint)


def _refuse_both(table: MergedTable, name: str, other: str) -> None:
    both: Iterable[str] = set(table.texts(name)) & set(table.texts(other))
    for item in sorted(both):
        table.flaw(name, f"{item} is in {other} too", item=item)
