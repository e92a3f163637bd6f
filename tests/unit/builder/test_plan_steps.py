"""The steps of a recipe: their order, what decides them, and what they write."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NetworkError, PackageError, RecipeError
from atoll.builder.cache import Cache
from atoll.builder.finish.var_rules import VarAction, match_var_rule, merge_rules
from atoll.builder.steps.ids import AccountIds
from atoll.builder.steps.kernel import kernel_arguments, module_names, plan_files
from atoll.builder.steps.local_files import copy_input, digest_input, ensure_download
from atoll.builder.steps.modules import clean_builds, find_missing, find_sources, is_wanted
from atoll.builder.steps.plan_steps import plan_settings
from atoll.builder.steps.policy import format_policy, format_units_check
from atoll.builder.steps.remap_ids import read_accounts
from atoll.builder.steps.scripts import find_line
from atoll.builder.steps.system import find_layout, format_keyboard, parse_layouts, plan_locales
from atoll.builder.steps.units import plan_dropins
from atoll.image.info import VarRules
from atoll.recipe.model import (
    Box,
    Debian,
    DebianBase,
    File,
    Flatpak,
    Group,
    Health,
    HealthCheck,
    Image,
    Kernel,
    Packages,
    Publish,
    Recipe,
    Script,
    System,
    Units,
    Update,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from atoll.builder.steps.step import Step

LAYOUTS = """! model
  pc105           Generic
! layout
  us              English (US)
  de              German
! variant
  nodeadkeys      de: German (no dead keys)
  intl            us: English (US, intl.)
! option
  grp             Switching
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(
        file=str(tmp_path / "atoll.toml"),
        text="",
        base=DebianBase(suite="trixie"),
        image=Image(name="x", version="1"),
        debian=Debian(suite="trixie"),
        packages=Packages(),
        files=(File(path="/etc/motd", source="motd"), File(path="/etc/one", text="1")),
        users=(User(name="ann", home="/home/ann"),),
        groups=(Group(name="crew"),),
        scripts=(
            Script(name="one", text="true", inputs=("theme",)),
            Script(name="two", source="two.sh"),
        ),
        kernel=Kernel(modules=("loop",)),
        system=System(hostname="reef"),
        health=Health(checks=(HealthCheck(name="web", source="web.sh"),)),
    )


@pytest.fixture
def folder(recipe: Recipe) -> Path:
    folder = Path(recipe.file).parent
    (folder / "theme").mkdir()
    for name in ("motd", "two.sh", "web.sh", "theme/a"):
        (folder / name).write_text(name)
    return folder


def steps_of(recipe: Recipe, folder: Path, ids: AccountIds | None = None) -> tuple[Step, ...]:
    return tuple(plan_settings(recipe, Cache(root=folder), ids=ids or AccountIds(), epoch=1))


def parts(recipe: Recipe, folder: Path) -> list[tuple[str, ...]]:
    return [step.parts() for step in steps_of(recipe, folder)]


def test_steps_have_an_order_and_titles(recipe: Recipe, folder: Path) -> None:
    titles = [step.title for step in steps_of(recipe, folder)]
    assert titles == [
        "Building kernel modules",
        "Assigning the ids of accounts",
        "Setting up the system",
        "Making accounts",
        "Choosing kernel modules",
        "Writing files",
        "Running the script one",
        "Running the script two",
        "Enabling units",
        "Writing the policy",
    ]


def test_what_there_is_nothing_to_do_for_is_no_step(recipe: Recipe, folder: Path) -> None:
    bare = replace(recipe, files=(), users=(), groups=(), scripts=(), kernel=Kernel())
    assert len(steps_of(bare, folder)) == 5


CHANGES: list[tuple[int, Callable[[Recipe], Recipe]]] = [
    (2, lambda r: replace(r, system=System(hostname="other"))),
    (3, lambda r: replace(r, users=(User(name="ann", home="/home/ann", gecos="Ann"),))),
    (4, lambda r: replace(r, kernel=Kernel(modules=("loop",), blacklist=("nouveau",)))),
    (5, lambda r: replace(r, files=(*r.files[:1], replace(r.files[1], mode=0o600)))),
    (6, lambda r: replace(r, scripts=(replace(r.scripts[0], network=True), r.scripts[1]))),
    (8, lambda r: replace(r, units=Units(user_enable=("x.service",)))),
    (9, lambda r: replace(r, keep=4)),
    (9, lambda r: replace(r, health=Health(units=("ssh.service",), checks=r.health.checks))),
]


@pytest.mark.parametrize(("step", "change"), CHANGES)
def test_a_change_decides_its_own_step_only(
    recipe: Recipe, folder: Path, step: int, change: Callable[[Recipe], Recipe]
) -> None:
    before, after = parts(recipe, folder), parts(change(recipe), folder)
    assert [n for n, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]] == [
        step
    ]


@pytest.mark.parametrize(
    ("name", "step"), [("motd", 5), ("theme/a", 6), ("two.sh", 7), ("web.sh", 9)]
)
def test_the_content_of_local_files_decides(
    recipe: Recipe, folder: Path, name: str, step: int
) -> None:
    before = parts(recipe, folder)
    os.utime(folder / name, (5, 5))
    assert parts(recipe, folder) == before
    (folder / name).write_text("other")
    after = parts(recipe, folder)
    assert [n for n in range(len(before)) if before[n] != after[n]] == [step]


def test_a_missing_local_file_is_told(recipe: Recipe, folder: Path) -> None:
    (folder / "motd").unlink()
    with pytest.raises(RecipeError, match="motd does not exist"):
        parts(recipe, folder)


def test_locked_ids_decide_accounts_only(recipe: Recipe, folder: Path) -> None:
    one = steps_of(recipe, folder)
    two = steps_of(recipe, folder, AccountIds(users=(("ann", 1000),)))
    differ = [a.title for a, b in zip(one, two, strict=True) if a.parts() != b.parts()]
    assert differ == ["Assigning the ids of accounts", "Making accounts"]


def test_a_directory_is_known_by_all_that_is_in_it(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "b").mkdir(parents=True)
    (top / "a").write_text("1")
    seen = [digest_input(top)]
    (top / "link").symlink_to("a")
    seen.append(digest_input(top))
    (top / "a").chmod(0o755)
    seen.append(digest_input(top))
    (top / "c").mkdir()
    seen.append(digest_input(top))
    (top / "c").rename(top / "d")
    seen.append(digest_input(top))
    assert len(set(seen)) == len(seen)
    copy_input(top, tmp_path / "copy")
    assert digest_input(tmp_path / "copy") == seen[-1]
    status = (tmp_path / "copy/a").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o755, 0)


def test_a_file_is_known_by_its_content_and_by_being_a_program(tmp_path: Path) -> None:
    """``copy_input`` keeps the executable bit, so a script's step runs again when it changes."""
    file = tmp_path / "tool"
    file.write_text("1")
    plain = digest_input(file)
    assert plain == hashlib.sha256(b"1").hexdigest()
    file.chmod(0o755)
    assert digest_input(file) != plain
    copy_input(file, tmp_path / "copy")
    assert digest_input(tmp_path / "copy") == digest_input(file)


def test_offline_takes_only_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="not in the cache"):
        ensure_download("http://example.org/x", "ab", tmp_path / "files", offline=True)
    (tmp_path / "files").mkdir()
    (tmp_path / "files/ab").write_text("x")
    found = ensure_download("http://example.org/x", "ab", tmp_path / "files", offline=True)
    assert found.read_text() == "x"


def test_layouts_of_keyboards() -> None:
    layouts = parse_layouts(LAYOUTS)
    assert layouts == {"us": {"intl"}, "de": {"nodeadkeys"}}
    assert find_layout("de-nodeadkeys", layouts) == ("de", "nodeadkeys")
    assert find_layout("us", layouts) == ("us", "")
    with pytest.raises(RecipeError, match="no variant nodeadkey") as raised:
        find_layout("de-nodeadkey", layouts)
    assert raised.value.hint == "did you mean: nodeadkeys"
    assert 'XKBVARIANT="nodeadkeys"' in format_keyboard("de", "nodeadkeys")


def test_locales_in_their_own_encoding() -> None:
    supported = "de_DE.UTF-8 UTF-8\nde_DE ISO-8859-1\nfr_FR.UTF-8 UTF-8\n"
    assert plan_locales(["de_DE", "fr_FR.UTF-8"], supported) == (
        "de_DE ISO-8859-1\nfr_FR.UTF-8 UTF-8\n"
    )
    with pytest.raises(RecipeError, match="knows no locale de_DE") as raised:
        plan_locales(["de_DE.UTF8"], supported)
    assert raised.value.hint == "did you mean: de_DE.UTF-8"
    with pytest.raises(RecipeError, match="can make no locale"):
        plan_locales(["de_DE"], "")


def test_modules_of_a_kernel() -> None:
    names = module_names(["a-b.ko", "c.ko.xz", "kernel/d_e.ko.zst", "modules.dep", "x.kov"])
    assert set(names) == {"a_b", "c", "d_e"}
    assert list(plan_files(Kernel(initrd_modules=("a", "b"))).values()) == [
        'add_drivers+=" a b "\n'
    ]
    assert plan_files(Kernel(args=("quiet",))) == {}


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("true\nnope now\n", "+ true\n+ nope now\n/run/atoll/script: 2: nope: not found\n", 2),
        ("true\n  grep  x /y\n", "+ true\n+ grep x /y\ngrep: /y: No such file\n", 2),
        ("true\nfalse\nfalse\n", "+ true\n+ false\n", None),
        ("cat $x\n", "+ cat 1\ncat: 1: No such file\n", None),
        ("", "own words\n", None),
    ],
)
def test_the_line_a_script_failed_in(text: str, said: str, line: int | None) -> None:
    assert find_line(text, said) == line


def test_the_policy_says_all_in_one_order(recipe: Recipe) -> None:
    wanted = replace(
        recipe,
        keep=4,
        etc=(("ssh/**", "local"), ("motd", "image")),
        update=Update(follow="docker://example.org/x:stable", auto="stage"),
        publish=Publish(to="docker://example.org/x", tags=("stable",)),
        flatpak=Flatpak(remotes=(("hub", "https://example.org"),), install=("org.x.Y",)),
        boxes=(Box(name="dev", image="debian:trixie", packages=("git",)),),
    )
    text = format_policy(wanted)
    document = json.loads(text)
    assert list(document) == [
        "format",
        "keep",
        "etc",
        "update",
        "health",
        "publish",
        "flatpak",
        "boxes",
    ]
    assert document["etc"] == [["ssh/**", "local"], ["motd", "image"]]
    assert document["update"]["window"] == "daily"
    assert text == format_policy(wanted)


def test_units_are_words_of_the_check() -> None:
    assert "for unit in ssh.service 'a\\x2db.mount'; do" in format_units_check(
        ("ssh.service", "a\\x2db.mount")
    )


def test_a_drop_in_of_the_base_stays(tmp_path: Path) -> None:
    units = Units(dropins=(("ssh.service", "[Service]\nNice=1\n"),))
    (first,) = plan_dropins(tmp_path, units)
    assert first.content == b"[Service]\nNice=1\n"
    file = tmp_path / first.path[1:]
    file.parent.mkdir(parents=True)
    file.write_text("[Service]\nNice=5\n")
    (second,) = plan_dropins(tmp_path, units)
    assert second.content == b"[Service]\nNice=5\n[Service]\nNice=1\n"


STATUS = """acpi-call/1.2.2, 6.12-amd64, x86_64: installed
nvidia-current/550.1: added
v4l2loopback/0.15.0, 6.12-amd64, x86_64: built
other/1, 6.11-amd64, x86_64: installed
odd/2, 6.12-amd64, x86_64: installed (Differences between built and installed modules)
"""


def test_modules_that_dkms_has_not_installed() -> None:
    names = ["acpi-call-1.2.2", "nvidia-current-550.1", "v4l2loopback-0.15.0", "other-1", "odd-2"]
    assert find_missing(STATUS, "6.12-amd64", names) == (
        "nvidia-current-550.1",
        "v4l2loopback-0.15.0",
        "other-1",
    )


def test_sources_of_modules(tmp_path: Path) -> None:
    for name, text in (("a-1", "AUTOINSTALL=yes\n"), ("b-2", 'AUTOINSTALL="no"\n')):
        (tmp_path / "usr/src" / name).mkdir(parents=True)
        (tmp_path / "usr/src" / name / "dkms.conf").write_text(f"PACKAGE_NAME=x\n{text}")
    assert find_sources(tmp_path) == ("a-1", "b-2")
    assert [is_wanted(tmp_path, name) for name in ("a-1", "b-2")] == [True, False]


def test_no_key_and_no_log_of_a_module_stays(tmp_path: Path) -> None:
    state = tmp_path / "var/lib/dkms"
    (state / "a/1/6.12/x86_64/log").mkdir(parents=True)
    (state / "a/1/6.12/x86_64/log/make.log").write_text("Wed")
    (state / "mok.key").write_text("secret")
    clean_builds(tmp_path)
    assert [path.name for path in state.rglob("*") if path.is_file()] == []


def test_rules_of_a_recipe_are_merged_by_the_longest_prefix() -> None:
    rules = merge_rules(
        VarRules(
            tree=("/var/lib/mine",),
            state=("/var/lib/dkms",),
            drop=("/var/lib/mine/cache", "/var/lib/cups/x"),
        )
    )
    assert match_var_rule("/var/lib/mine/a", rules) is VarAction.TREE
    assert match_var_rule("/var/lib/mine/cache/a", rules) is VarAction.DROP
    assert match_var_rule("/var/lib/dkms/x", rules) is VarAction.STATE
    assert match_var_rule("/var/lib/cups/x", rules) is VarAction.DROP
    assert match_var_rule("/var/lib/cups/y", rules) is VarAction.STATE
    assert match_var_rule("/var/lib/mine/a") is None


@pytest.mark.parametrize(
    ("var", "message"),
    [
        (
            VarRules(state=("/var/lib/dpkg/info",)),
            "inside /var/lib/dpkg, which belongs to the tree",
        ),
        (VarRules(tree=("/var/lib/ucf/x",)), "inside /var/lib/ucf"),
        (VarRules(tree=("/var/lib/systemd",)), "cannot belong to the tree: "),
    ],
)
def test_rules_that_cannot_be_kept(var: VarRules, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        merge_rules(var)


def test_accounts_that_are_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="not a regular file"):
        read_accounts(tmp_path)


@pytest.mark.parametrize(
    ("own", "removed", "after"),
    [
        (("debug",), (), "quiet console=tty0 console=ttyS0 consoleblank=0 debug"),
        (("quiet",), (), "quiet console=tty0 console=ttyS0 consoleblank=0"),
        ((), ("console",), "quiet consoleblank=0"),
        (("console=hvc0",), ("console=ttyS0", "quiet"), "console=tty0 consoleblank=0 console=hvc0"),
        (("quiet",), ("quiet",), "console=tty0 console=ttyS0 consoleblank=0 quiet"),
    ],
)
def test_arguments_of_the_base_stay_unless_they_are_removed(
    own: tuple[str, ...], removed: tuple[str, ...], after: str
) -> None:
    kernel = Kernel(args=own, remove_args=removed)
    before = ("quiet", "console=tty0", "console=ttyS0", "consoleblank=0")
    assert " ".join(kernel_arguments(kernel, before)) == after


@pytest.mark.parametrize(
    ("before", "hint"), [(("console=tty0",), "it has: console=tty0"), ((), "it has none")]
)
def test_an_argument_that_the_base_does_not_have(before: tuple[str, ...], hint: str) -> None:
    with pytest.raises(RecipeError) as caught:
        kernel_arguments(Kernel(remove_args=("console=ttyS0",)), before)
    assert "the base has no kernel argument console=ttyS0" in str(caught.value)
    assert (caught.value.key, caught.value.hint) == ("kernel.remove_args", hint)
