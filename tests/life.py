"""A machine's life against a model: what a person did decides what must be on its disk.

The model shares no code with Atoll: it knows what each deployment was made of, what each ``/etc``
says, and what the archive offers, and computes the packages itself. ``Life.check`` compares it with
the disk after every step.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from atoll.base.ids import TreeId
from atoll.base.report import NullReporter
from atoll.image.read_file import read_file
from atoll.machine.deployments.apply import apply_operations
from atoll.machine.deployments.state import read_state
from atoll.machine.deployments.sysroot import Sysroot
from atoll.machine.health.bless import bless
from atoll.machine.health.boot_failure_report import apply_report, decide_failed, plan_report
from atoll.machine.restore_machine_file import plan_restore_machine_file
from atoll.store.layout import open_store
from atoll.store.tree_images import list_images
from tests.machines import check_machine
from tests.tiny_system import BASE_PACKAGES, run_verb
from tests.wayback_checker import loader_entries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.tiny_system import Done, TinyWorld

QUIET = NullReporter()
DEPENDS = {"tool": ("lib",), "big": ("lib",), "extra": (), "clash": (), "lib": ()}
LAYERS = ("tool", "big", "extra", "clash")
RIVAL = "reef-new"
"""A package of some images that ``clash`` does not go together with."""
NOTHING_TO_DO, REFUSED, UNFIT = 77, 11, 10
HEAD = "# What a person wrote\nschema = 1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    name: str
    version: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a machine file says."""

    install: tuple[str, ...] = ()
    remove: frozenset[str] = frozenset()
    args: frozenset[str] = frozenset()
    layers: str = "hold"

    @property
    def makes_tree(self) -> bool:
        return bool(self.install or self.remove or self.args)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a deployment was made of; ``locked`` are the versions that its lock pins."""

    image: Image
    wanted: Wanted | None = None
    locked: tuple[tuple[str, str], ...] = ()

    @property
    def packages(self) -> dict[str, str]:
        gone = self.wanted.remove if self.wanted else frozenset()
        kept = {name: version for name, version in self.image.packages.items() if name not in gone}
        return kept | dict(self.locked)

    def describe(self) -> str:
        return f"{self.image.name} {self.image.version}, {self.wanted}, {dict(self.locked)}"

    @property
    def is_derived(self) -> bool:
        return self.wanted is not None and self.wanted.makes_tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Etc:
    """One deployment's ``/etc``. ``by_hand``: a person wrote the machine file since it was
    applied."""

    wanted: Wanted | None = None
    built: Built
    by_hand: bool = False
    mine: str = ""


@dataclass
class Life:
    world: TinyWorld
    root: Path
    image: Image
    booted: int = 1
    default: int = 1
    built: dict[int, Built] = field(default_factory=dict)
    etc: dict[int, Etc] = field(default_factory=dict)
    offered: dict[str, str] = field(default_factory=dict)
    channels: dict[str, Image] = field(default_factory=dict)
    blessed: set[int] = field(default_factory=set)
    pinned: set[int] = field(default_factory=set)
    from_which: dict[int, int] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    unpruned: int = 0
    """How many deployments came since old ones were last removed."""

    def __post_init__(self) -> None:
        self.built[1] = Built(image=self.image)
        self.etc[1] = Etc(built=self.built[1])
        self.blessed.add(1)
        self.channels[self.image.name] = self.image

    @property
    def machine(self) -> Sysroot:
        return Sysroot(root=self.root, esp=self.root / "esp", booted=self.booted)

    def run(self, *words: str | Path, codes: tuple[int, ...] = (0,)) -> Done:
        done = run_verb(self.world, self.root, *words, booted=self.booted)
        self.log.append(f"{' '.join(map(str, words))} -> {done.code}")
        assert done.code in codes, f"{self.story()}\n{done.told}"
        return done

    def story(self) -> str:
        rows = [f"runs {self.booted}, next {self.default}"]
        rows += [f"  {number}: of {made.describe()}" for number, made in self.built.items()]
        return "\n".join([*self.log, *rows])

    # What others do: publishers of packages and images.

    def offer(self, name: str, version: str) -> None:
        fields = {"depends": ", ".join(DEPENDS[name])} if DEPENDS[name] else {}
        if name == "clash":
            fields["conflicts"] = RIVAL
        self.world.offer((name, version, fields))
        self.offered[name] = version
        self.log.append(f"the archive offers {name} {version}")

    def publish(self, name: str, version: str, *more: str) -> None:
        packages = dict.fromkeys((*BASE_PACKAGES, *more), "1")
        self.world.publish(version, packages, name=name)
        self.channels[name] = Image(name=name, version=version, packages=packages)
        self.log.append(f"published {name} {version} {more}")

    # What a person does to the machine file.

    @property
    def live(self) -> Etc:
        return self.etc[self.booted]

    @property
    def is_followed(self) -> bool:
        """Whether what boots next came from the ``/etc`` that runs: not after a rollback."""
        return self.booted == self.default or self.from_which.get(self.default) == self.booted

    def add(self, name: str) -> None:
        now = self.live.wanted or Wanted()
        in_image = name in self.built[self.default].image.packages
        if name in now.install or (in_image and name not in now.remove):
            self.run("add", name, codes=(NOTHING_TO_DO,))
            return
        install = now.install if in_image else (*now.install, name)
        self._change(("add", name), replace(now, install=install, remove=now.remove - {name}))

    def remove(self, name: str) -> None:
        now = self.live.wanted or Wanted()
        if name in now.install:
            install = tuple(each for each in now.install if each != name)
            self._change(("remove", name), replace(now, install=install))
        elif name in self.built[self.default].image.packages:
            self._change(("remove", name), replace(now, remove=now.remove | {name}))
        else:
            self.run("remove", name, codes=(7,))

    def add_argument(self, argument: str) -> None:
        now = self.live.wanted or Wanted()
        if argument in now.args:
            self.run("kargs", "add", argument, codes=(NOTHING_TO_DO,))
            return
        self._change(("kargs", "add", argument), replace(now, args=now.args | {argument}))

    def remove_argument(self, argument: str) -> None:
        now = self.live.wanted or Wanted()
        if argument not in now.args:
            self.run("kargs", "remove", argument, codes=(7,))
            return
        self._change(("kargs", "remove", argument), replace(now, args=now.args - {argument}))

    def apply(self) -> None:
        self._change(("apply",), self.live.wanted or Wanted())

    def write_by_hand(self, wanted: Wanted) -> None:
        """What an editor does, without ``apply``."""
        place = self._upper(self.booted) / "atoll"
        place.mkdir(exist_ok=True)
        (place / "machine.toml").write_text(format_wanted(wanted))
        self.etc[self.booted] = replace(self.live, wanted=wanted, by_hand=True)
        self.log.append(f"by hand: {wanted}")

    def write_nonsense(self) -> None:
        """Every verb that needs the machine file names it, and nothing changes; then it is put
        right again."""
        path = self._upper(self.booted) / "atoll/machine.toml"
        before = path.read_bytes() if path.exists() else None
        path.parent.mkdir(exist_ok=True)
        path.write_text("schema = 1\n[packages\n")
        for words in (("add", "extra"), ("upgrade",), ("apply",), ("kargs", "add", "x")):
            assert "/etc/atoll/machine.toml" in self.run(*words, codes=(2, 3, 4)).told
        path.unlink()
        if before is not None:
            path.write_bytes(before)

    def write_setting(self, text: str) -> None:
        (self._upper(self.booted) / "mine.conf").write_text(text)
        self.etc[self.booted] = replace(self.live, mine=text)

    # Verbs.

    def _change(self, words: tuple[str, ...], wanted: Wanted) -> None:
        image, before = self.built[self.default].image, self.live.built
        if "clash" in wanted.install and RIVAL in image.packages:
            self.run(*words, codes=(UNFIT,))
            return
        locked = dict(before.locked) if before.image == image else {}
        self._stage(words, image, wanted, self._resolve(wanted, locked))

    def _stage(
        self,
        words: tuple[str, ...],
        image: Image,
        wanted: Wanted,
        locked: tuple[tuple[str, str], ...],
    ) -> None:
        made = Built(image=image, wanted=wanted, locked=locked)
        now = self.built[self.default]
        same = (now.image, now.wanted or Wanted(), now.locked) == (image, wanted, locked)
        # Without layers both are the image.
        same |= now.image == image and not (now.is_derived or wanted.makes_tree)
        # The same wish may be another text, and then another record in the tree.
        done = self.run(*words, codes=(0, NOTHING_TO_DO) if same else (0,))
        if done.code == 0:
            self._staged(made, Etc(wanted=wanted, built=made, mine=self.live.mine))

    def _staged(self, made: Built, etc: Etc) -> None:
        number = max(self._numbers())
        assert number > max(self.built), self.story()
        self.built[number] = made
        self.etc[number] = self.etc[self.booted] = etc
        self.from_which[number] = self.booted
        self.default, self.unpruned = number, 0

    def _resolve(self, wanted: Wanted, locked: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        names = {name for word in wanted.install for name in (word, *DEPENDS[word])}
        return tuple(sorted((name, locked.get(name, self.offered[name])) for name in names))

    def upgrade(self, to: str = "") -> None:
        now, wanted = self.built[self.default], self.live.wanted
        image = self.channels[to or now.image.name]
        words = ("rebase", self.world.maker.follow(to)) if to else ("upgrade", "--even-held")
        if wanted is None or not wanted.makes_tree:
            if image == now.image and not now.is_derived:
                self.run(*words, codes=(NOTHING_TO_DO,))
            elif self.run(*words, codes=(0, REFUSED) if to else (0,)).code == 0:
                made = Built(image=image, wanted=wanted)
                self._staged(made, replace(self.live, built=made, by_hand=False))
            return
        wanted = replace(
            wanted, install=tuple(each for each in wanted.install if each not in image.packages)
        )
        if "clash" in wanted.install and RIVAL in image.packages:
            if wanted.layers == "hold":
                told = self.run(*words, codes=(REFUSED,)).told
                assert "does not fit" in told and RIVAL in told, self.story()
                return
            install = tuple(each for each in wanted.install if each != "clash")
            wanted = replace(wanted, install=install)
        locked = self._resolve(wanted, {})
        same = (now.image, now.wanted, now.locked) == (image, wanted, locked)
        codes = (NOTHING_TO_DO,) if same else (0, REFUSED) if to else (0,)
        if self.run(*words, codes=codes).code == 0:
            made = Built(image=image, wanted=wanted, locked=locked)
            self._staged(made, Etc(wanted=wanted, built=made, mine=self.live.mine))

    def rollback(self, to: int | None = None, *, keep_etc: bool = False) -> None:
        words = [f"number:{to}"] if to else []
        done = self.run("rollback", *words, *(["--keep-etc"] if keep_etc else []), codes=(0, 7))
        if done.code:
            return
        number, before = self._next_on_disk(), self.default
        assert number != before, self.story()
        if keep_etc:
            made = self._made_of(number)
            self.built[number] = made
            # As after every verb that stages: the file that runs is that of what boots next.
            wanted = made.wanted
            if not made.is_derived:
                # Settings of the machine alone may stay; nothing of the tree does.
                wanted = parse_wanted(self._upper(number) / "atoll/machine.toml")
                assert wanted is None or not wanted.makes_tree, self.story()
                if self.live.wanted is not None and not self.live.wanted.makes_tree:
                    assert wanted == self.live.wanted, self.story()
            self.etc[number] = replace(self.live, wanted=wanted, built=made, by_hand=False)
            self.etc[self.booted] = self.etc[number]
            self.unpruned += 1
            self.from_which[number] = self.booted
        else:
            assert number in self.blessed and number == (to or number), self.story()
            self._agree_again(number)
        self.default = number

    def _made_of(self, number: int) -> Built:
        tree = self._description(number)["tree"]
        return next(
            self.built[each]
            for each in self._numbers()
            if each != number and self._description(each)["tree"] == tree
        )

    def cancel(self) -> None:
        if self.default == self.booted:
            self.run("cancel", codes=(NOTHING_TO_DO,))
            return
        self.run("cancel")
        self.default = self.booted
        self._agree_again(self.booted)

    def _agree_again(self, number: int) -> None:
        """A way back gives a deployment its own file, unless a person wrote another one."""
        etc, own = self.etc[number], self.built[number]
        if not etc.by_hand:
            wanted = own.wanted if own.is_derived or etc.built.is_derived else etc.wanted
            self.etc[number] = replace(etc, wanted=wanted, built=own)

    def pin(self) -> None:
        self.run("pin", str(self.booted), codes=(0, NOTHING_TO_DO))
        self.pinned.add(self.booted)

    def unpin(self) -> None:
        for number in sorted(self.pinned):
            self.run("unpin", str(number), codes=(0, NOTHING_TO_DO))
        self.pinned.clear()

    # Boots.

    def reboot(self, *, good: bool = True) -> None:
        """What the loader, early boot and the first minutes do; a bad one falls back."""
        first = loader_entries(self.root / "esp")[0]
        if not good and first.left:
            stem = first.path.name.partition("+")[0]
            first.path.rename(first.path.with_name(f"{stem}+0-{first.left}.conf"))
            notes = self.root / "atoll/state/tries" / first.deployment
            notes.mkdir(parents=True, exist_ok=True)
            (notes / "1-started").write_text(first.path.name)
            (notes / "1-failed").write_text("it did not come up")
            first = loader_entries(self.root / "esp")[0]
        number, before = int(first.deployment), self.booted
        self.log.append(f"boots {number}")
        if (self.root / f"atoll/deployments/{number}/etc/merged-from").exists():
            self.run("etc", "complete", "--deployment", str(number))
            source = self.etc[self.from_which[number]]
            self.etc[number] = replace(self.etc[number], mine=source.mine)
            if source.by_hand:
                self.etc[number] = replace(self.etc[number], wanted=source.wanted, by_hand=True)
        self.booted = self.default = number
        state = read_state(self.machine)
        given_up = decide_failed(self.machine, state, ())
        apply_report(self.machine, plan_report(self.machine, state, given_up, now=1))
        apply_operations(plan_restore_machine_file(self.machine, number))
        if first.left is not None:
            bless(self.machine, number, QUIET)
        self.blessed.add(number)
        if number == before or number != first.version:
            self._agree_again(number)

    # What must hold.

    def check(self) -> None:
        check_machine(Sysroot(root=self.root, esp=self.root / "esp"))
        there = self._numbers()
        assert self._next_on_disk() == self.default, self.story()
        assert {self.booted, self.default} | self.pinned <= there, self.story()
        assert there <= self.built.keys(), self.story()
        assert len(there) <= 3 + self.unpruned + len(self.pinned), f"{there}\n{self.story()}"
        for number in there:
            self._check_deployment(number)
        for number in {self.booted, self.default}:
            self._check_etc(number)
        assert not list((self.root / "atoll/state").glob(".machine.*"))
        assert not [*(self.root / "atoll/refs").rglob("machine*")], self.story()

    def collect(self) -> None:
        """``gc`` leaves the trees of the deployments, and what these were built on."""
        self.run("gc")
        self.unpruned = 0
        there = self._numbers()
        needed = {str(self._description(number)["tree"]) for number in there}
        needed |= {str(self._origin(number).get("base")) for number in there}
        assert {*list_images(open_store(self.root / "atoll"))} <= needed, self.story()

    def _check_deployment(self, number: int) -> None:
        made, found = self.built[number], self._description(number)
        assert (found["name"], found["version"]) == (made.image.name, made.image.version)
        assert ("base" in self._origin(number)) == made.is_derived, f"{number}\n{self.story()}"
        place = self.root / f"atoll/deployments/{number}"
        if made.is_derived:
            assert parse_wanted(place / "machine.toml") == made.wanted, f"{number}\n{self.story()}"
            assert parse_lock(place / "machine.lock") == dict(made.locked), self.story()
        store, tree = open_store(self.root / "atoll"), TreeId(str(found["tree"]))
        rows = json.loads(read_file(store, tree, "usr/lib/atoll/packages.json") or b"[]")
        listed = {name: version for name, version, _ in rows}
        assert listed == made.packages, f"{number}\n{self.story()}"
        args = made.wanted.args if made.wanted else frozenset()
        options = [
            entry.path.read_text().split()
            for entry in loader_entries(self.root / "esp")
            if entry.deployment == str(number)
        ]
        assert options and all(args <= {*words} for words in options), self.story()

    def _check_etc(self, number: int) -> None:
        upper, etc = self._upper(number), self.etc[number]
        there = parse_wanted(upper / "atoll/machine.toml")
        assert there == etc.wanted, f"/etc of {number} says {there}\n{self.story()}"
        if not etc.by_hand and etc.built.is_derived:
            there_locked = parse_lock(upper / "atoll/machine.lock")
            assert there_locked == dict(etc.built.locked), f"lock of {number}\n{self.story()}"
        mine = upper / "mine.conf"
        assert (mine.read_text() if mine.exists() else "") == etc.mine, self.story()

    def check_digest(self, folder: Path) -> None:
        """The machine file of what boots next, copied elsewhere, gives the same tree."""
        if not self.built[self.default].is_derived or self.etc[self.default].by_hand:
            return
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self._upper(self.default) / "atoll", folder)
        store = self.world.maker.store.root
        done = run_verb(
            self.world, None, "build", folder, "--from-machine", "--store", store, "--json"
        )
        assert done.code == 0, done.told
        tree = json.loads(done.told[done.told.index("{") :])["tree"]
        assert tree == self._description(self.default)["tree"], self.story()

    def _numbers(self) -> set[int]:
        return {
            int(path.name)
            for path in (self.root / "atoll/deployments").iterdir()
            if path.name.isdecimal()
        }

    def _next_on_disk(self) -> int:
        return int(loader_entries(self.root / "esp")[0].deployment)

    def _upper(self, number: int) -> Path:
        return self.root / f"atoll/deployments/{number}/etc/upper"

    def _description(self, number: int) -> dict[str, object]:
        place = self.root / f"atoll/deployments/{number}/deployment.json"
        found = json.loads(place.read_bytes())
        assert isinstance(found, dict)
        return found

    def _origin(self, number: int) -> dict[str, object]:
        return tomllib.loads((self.root / f"atoll/deployments/{number}/origin.toml").read_text())


def parse_wanted(path: Path) -> Wanted | None:
    if not path.is_file():
        return None
    table = tomllib.loads(path.read_text())
    packages = table.get("packages", {})
    return Wanted(
        install=tuple(packages.get("install", ())),
        remove=frozenset(packages.get("remove", ())),
        args=frozenset(table.get("kernel", {}).get("args", ())),
        layers=table.get("update", {}).get("layers", "hold"),
    )


def format_wanted(wanted: Wanted) -> str:
    text = f'{HEAD}[update]\nlayers = "{wanted.layers}"\n'
    lists = {
        "packages": {"install": [*wanted.install], "remove": sorted(wanted.remove)},
        "kernel": {"args": sorted(wanted.args)},
    }
    for table, keys in lists.items():
        rows = [f"{key} = {json.dumps(words)}\n" for key, words in keys.items() if words]
        text += f"[{table}]\n{''.join(rows)}" if rows else ""
    return text


def parse_lock(path: Path) -> dict[str, str]:
    table = tomllib.loads(path.read_text()) if path.is_file() else {}
    return {each["name"]: each["version"] for each in table.get("packages", [])}
