"""The verbs that look at systems, from words in to words out: diff, inspect, sbom."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from atoll.builder.make_tree import write_records
from atoll.cli.main import main
from atoll.cli.output.diff_summary import top_directory
from atoll.lock.serialize import format_lock
from atoll.oci.system_label import SystemLabel
from atoll.recipe.language.parse import read_recipe
from atoll.store.layout import open_store
from tests.fake_registry import Asked, Reply, fake_registry
from tests.machines import Maker
from tests.systems import RECIPE, files_of, keep, link, program, publish
from tests.unit.inspect.test_describe import LOCK

if TYPE_CHECKING:
    from pathlib import Path

    from atoll.base.ids import TreeId
    from atoll.store.layout import Store

ESCAPES = "\x1b[2J\x1b]0;owned\x07\u202e\x9b31m"
FACTS = SystemLabel(kernel="6.12-test", esp=1, packages={"bash": "5.2-1"})


class Shell:
    """Runs ``atoll`` with a store of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.store = open_store(folder / "store", create=True)
        self._capsys = capsys

    def __call__(self, *words: str) -> tuple[int, str]:
        """The exit code, and all that was printed."""
        code = main([*words, "--store", str(self.store.root)])
        told = self._capsys.readouterr()
        return code, told.out + told.err

    def result(self, *words: str, code: int = 0) -> str:
        assert main([*words, "--quiet", "--store", str(self.store.root)]) == code
        return self._capsys.readouterr().out

    def json(self, *words: str, code: int = 0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.result(*words, "--json", code=code))
        return found


@pytest.fixture
def atoll(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(tmp_path, capsys)


def two_systems(store: Store) -> tuple[TreeId, TreeId]:
    old = (("bash", "5.2-1", 100), ("gone", "1", 5), ("nano", "8.0~rc1-1", 10))
    new = (("bash", "5.2-1+b1", 120), ("htop", "3", 7), ("nano", "7-1", 9))
    before = files_of("1", old) | {"usr/bin/tool": b"t", "usr/share/x/y": b"1" * 90}
    after = files_of("2", new) | {
        "etc/systemd/system/ssh.service": link("/dev/null"),
        "usr/bin/tool": program(b"s" * 100, 0o2755),
        "usr/bin/su": program(b"s" * 100, 0o755),
        "usr/share/x/z": b"2" * 100,
    }
    return keep(store, before, "old"), keep(store, after, "new")


GOLDEN = """\
- small 1 (store:old) tree {old}…
+ small 1 (store:new) tree {new}…

setuid, setgid and capabilities: 1 added, 1 removed
  - /usr/bin/su  setuid 4755 0:0
  + /usr/bin/tool  setgid 2755 0:0

packages: 1 added, 1 removed, 1 upgraded, 1 downgraded; +21.5 kB installed
  added      htop  3  +7.2 kB
  removed    gone  1  -5.1 kB
  upgraded   bash  5.2-1 → 5.2-1+b1  +20.5 kB
  downgraded nano  8.0~rc1-1 → 7-1  -1.0 kB

units: 1 changed
  ~ ssh.service  enabled → masked

settings: 1 changed
  ~ version  1 → 2
"""


def test_what_changed_between_two_trees(atoll: Shell) -> None:
    old, new = two_systems(atoll.store)
    text = atoll.result("diff", "store:old", "new")
    assert text.startswith(GOLDEN.format(old=old[:16], new=new[:16]))
    assert "unchanged: kernel, kernel arguments, users, groups" in text
    assert "  + /usr/share/x/z" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "  + /usr/share/x/z  100 B" in atoll.result("diff", old, new, "--files")


def test_what_changed_as_json(atoll: Shell) -> None:
    old, new = two_systems(atoll.store)
    found = atoll.json("diff", old, new)
    assert (found["equal"], found["from"]["tree"], found["to"]["tree"]) == (False, old, new)
    assert found["packages"]["changed"] == [
        {
            "name": "bash",
            "from": "5.2-1",
            "to": "5.2-1+b1",
            "kind": "upgraded",
            "size_from": 102400,
            "size_to": 122880,
        },
        {
            "name": "nano",
            "from": "8.0~rc1-1",
            "to": "7-1",
            "kind": "downgraded",
            "size_from": 10240,
            "size_to": 9216,
        },
    ]
    assert found["packages"]["added"] == [{"name": "htop", "version": "3", "size": 7168}]
    assert found["privileged"]["added"] == [{"name": "/usr/bin/tool", "value": "setgid 2755 0:0"}]
    assert found["units"]["changed"][0]["to"] == "masked"
    assert found["wishes"] is None
    assert found["unknown"] == {}
    paths = [each["path"] for each in found["files"]["directories"]]
    assert paths == ["/etc", "/usr/bin", "/usr/lib", "/usr/share"]
    assert "list" not in found["files"]
    listed = atoll.json("diff", old, new, "--files")["files"]["list"]
    by_path = {each["path"]: each for each in listed}
    assert by_path["/usr/share/x/z"]["size_from"] is None
    assert by_path["/usr/bin/su"]["aspects"] == ["mode"]
    back = atoll.json("diff", new, old)
    assert back["packages"]["removed"] == found["packages"]["added"]


def test_equal_systems_end_with_77(atoll: Shell) -> None:
    old, _ = two_systems(atoll.store)
    assert atoll.result("diff", "old", old, code=77).endswith("identical\n")
    assert atoll.json("diff", "old", "old", code=77)["equal"] is True


def test_an_image_is_compared_before_it_is_here(atoll: Shell, tmp_path: Path) -> None:
    maker = open_store(tmp_path / "maker", create=True)
    old, new = two_systems(maker)
    words = [
        publish(maker, old, tmp_path / "oci", version="1"),
        publish(maker, new, tmp_path / "oci", version="2"),
    ]
    found = atoll.json("diff", *words)
    assert [each["name"] for each in found["packages"]["added"]] == ["htop"]
    assert found["units"]["changed"][0]["name"] == "ssh.service"
    assert found["unknown"] == {}
    assert not list(atoll.store.images.iterdir())
    assert atoll.json("inspect", words[0], "--packages")["package_list"] == [
        {"name": "bash", "version": "5.2-1"},
        {"name": "gone", "version": "1"},
        {"name": "nano", "version": "8.0~rc1-1"},
    ]


def test_no_layer_is_fetched_from_a_registry(atoll: Shell, tmp_path: Path) -> None:
    large = {
        f"usr/lib/large/{number}": random.Random(number).randbytes(1 << 20) for number in range(3)
    }
    maker = open_store(tmp_path / "maker", create=True)
    publish(maker, keep(maker, files_of() | large), tmp_path / "oci", version="one")
    keep(atoll.store, files_of(), "small")
    served = []

    def count(_: Asked, reply: Reply) -> Reply:
        served.append(len(reply.body))
        return reply

    with fake_registry(tmp_path / "oci") as registry:
        registry.bend = count
        found = atoll.json("diff", "small", registry.reference(), "--files")
        assert json.loads(atoll.result("sbom", registry.reference()))["name"] == "small-one"
    assert found["files"]["added"] == {"count": 3, "bytes_from": 0, "bytes_to": 3 << 20}
    assert found["unknown"] == {}
    assert sum(served) < 1 << 20
    assert not list(atoll.store.images.iterdir())[1:]


def test_recipes_are_compared_by_what_they_ask_for(atoll: Shell, tmp_path: Path) -> None:
    for name, more in (("a", ""), ("b", 'remove = ["nano"]\n[kernel]\nargs = ["quiet"]\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "atoll.toml").write_text(RECIPE + more)
    one, two = str(tmp_path / "a"), str(tmp_path / "b/atoll.toml")
    found = atoll.json("diff", one, two)
    assert found["wishes"]["added"] == [{"name": "nano", "value": "remove"}]
    assert found["arguments"]["added"] == [{"name": "quiet", "value": "quiet"}]
    why = "no lock is beside the recipe"
    assert found["unknown"] == {"packages": {"from": why, "to": why}}
    assert atoll.json("diff", one, one, code=77)["equal"]


def test_locks_are_compared_alone_and_beside_recipes(atoll: Shell, tmp_path: Path) -> None:
    newer = replace(LOCK, packages=(replace(LOCK.packages[0], version="5.2-2", size=15),))
    for name, lock in (("a", LOCK), ("b", newer)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "atoll.toml").write_text(RECIPE)
        (tmp_path / name / "atoll.lock").write_text(format_lock(lock))
    one, two = str(tmp_path / "a"), str(tmp_path / "b")
    for before, after in ((one, two), (f"{one}/atoll.lock", f"{two}/atoll.lock")):
        found = atoll.json("diff", before, after)
        assert found["packages"]["removed"] == [
            {"name": "libc6:i386", "version": "2.41-1", "size": 20}
        ]
        assert found["packages"]["changed"][0]["size_to"] == 15
        assert found["unknown"] == {}
    keep(atoll.store, files_of(packages=(("bash", "5.2-2", 10),)), "small")
    assert atoll.json("diff", f"{two}/atoll.lock", "small", code=77)["units"] is None
    assert atoll.json("diff", two, "small", code=77)["equal"]
    carrying = files_of() | {"usr/lib/atoll/lock.toml": format_lock(LOCK).encode()}
    tree = keep(atoll.store, carrying, "carrying")
    built = tmp_path / "built.lock"
    built.write_text(format_lock(replace(LOCK, tree=tree)))
    assert atoll.json("diff", str(built), "carrying", code=77)["users"] is not None
    document = json.loads(atoll.result("sbom", "carrying"))
    (bash,) = (each for each in document["packages"] if each["name"] == "bash")
    assert bash["checksums"][0]["checksumValue"] == "11" * 32
    (tmp_path / "a/atoll.lock").write_text("schema = 1\nodd\nx = 1\n")
    code, said = atoll("diff", one, two)
    assert code == 2 and "a/atoll.lock" in said


def test_variants_of_a_recipe_are_compared(atoll: Shell, tmp_path: Path) -> None:
    text = RECIPE + '[variant.kde]\npackages = { install = ["plasma"] }\n[variant.gnome]\n'
    (tmp_path / "atoll.toml").write_text(text)
    words = ("diff", str(tmp_path), str(tmp_path))
    found = atoll.json(*words, "--variant", "gnome", "--variant", "kde")
    assert found["wishes"]["added"] == [{"name": "plasma", "value": "install"}]
    assert found["to"]["title"].endswith("atoll.toml, kde")
    lock = format_lock(replace(LOCK, variant="kde")).encode()
    files = files_of() | {
        "usr/lib/atoll/recipe.toml": text.encode(),
        "usr/lib/atoll/lock.toml": lock,
    }
    keep(atoll.store, files, "carrying")
    assert atoll.json("diff", str(tmp_path), "carrying", "--variant", "kde", code=77)["wishes"]
    assert atoll.json(*words, "--variant", "kde", code=77)["equal"]
    code, said = atoll(*words, "--variant", "xfce")
    assert code == 2 and "xfce" in said


def test_a_recipe_is_compared_with_the_one_that_a_tree_carries(
    atoll: Shell, tmp_path: Path
) -> None:
    keep(atoll.store, files_of("1"), "small")
    (tmp_path / "atoll.toml").write_text(RECIPE)
    assert atoll.json("diff", str(tmp_path / "atoll.toml"), "small", code=77)["equal"]
    (tmp_path / "atoll.toml").write_text(RECIPE.replace('"bash"', '"zsh"'))
    found = atoll.json("diff", str(tmp_path), "small")
    assert found["wishes"]["removed"] == [{"name": "zsh", "value": "install"}]


def test_what_the_carried_recipe_includes_is_carried_too(atoll: Shell, tmp_path: Path) -> None:
    # Two files of one name, one of them included twice.
    shared = 'schema = 1\npackages = { install = ["%s"] }\n'
    texts = {
        "reef/atoll.toml": RECIPE.replace(
            "\n[image]", '\ninclude = ["../one/common.toml", "../common.toml"]\n[image]'
        ),
        "one/common.toml": 'include = ["../common.toml"]\n' + shared % "inner",
        "common.toml": shared % "outer",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "root/usr/lib/atoll").mkdir(parents=True)
    write_records(tmp_path / "root", recipe := read_recipe(tmp_path / "reef"), LOCK, ())
    assert {"inner", "outer"} <= set(recipe.packages.install)
    records = (tmp_path / "root/usr/lib/atoll").rglob("*.toml")
    carried = {str(path.relative_to(tmp_path / "root")): path.read_bytes() for path in records}
    keep(atoll.store, files_of() | carried, "small")
    assert atoll.json("diff", str(tmp_path / "reef"), "small", code=77)["equal"]
    (tmp_path / "common.toml").write_text(shared % "changed")
    found = atoll.json("diff", str(tmp_path / "reef"), "small")["wishes"]
    assert [row["name"] for row in found["removed"]] == ["changed"]
    assert [row["name"] for row in found["added"]] == ["outer"]
    lost = next(name for name in carried if "/2-" in name)
    del carried[lost]
    keep(atoll.store, files_of() | carried, "lost")
    code, said = atoll("diff", str(tmp_path / "reef"), "lost")
    assert code == 2 and lost in said


@pytest.mark.root
def test_deployments_of_a_machine(atoll: Shell, tmp_path: Path) -> None:
    maker = Maker(tmp_path / "maker")
    maker.install(tmp_path / "machine", maker.publish("1"))
    new = maker.publish("2", packages={"bash": "5.3", "new": "1"})
    root = ("--root", str(tmp_path / "machine"))
    found = atoll.json("diff", "1", new.reference, *root)
    assert found["from"]["title"] == "deployment 1"
    assert found["packages"]["changed"][0]["to"] == "5.3"
    assert atoll.json("diff", "default", "1", *root, code=77)["equal"]
    assert atoll.json("inspect", "default", *root)["version"] == "1"
    code, said = atoll("diff", "7", "1", *root)
    assert code == 7 and "it has: 1" in said
    code, said = atoll("diff", "booted", "1", *root)
    assert code == 7 and "no booted deployment" in said


def test_what_an_image_says_steers_no_terminal(atoll: Shell, tmp_path: Path) -> None:
    name = f"evil{ESCAPES}{'x' * 90}"
    endless = ("b" * 300_000, "c " * 200_000, 1)
    hostile = files_of(f"2{ESCAPES}", ((name, f"1{ESCAPES}", 3), endless)) | {
        f"usr/{ESCAPES}/{name}": program(b"s" * 100, 0o4755),
        f"etc/systemd/system/{ESCAPES[:4]}.service": link("/dev/null"),
        "etc/passwd": f"{ESCAPES}:x:0:0::/:{ESCAPES}\n".encode(),
    }
    maker = open_store(tmp_path / "maker", create=True)
    word = publish(maker, keep(maker, hostile), tmp_path / "oci", version="2")
    keep(atoll.store, files_of(), "small")
    for words in (
        ("diff", "small", word, "--files"),
        ("diff", word, "small"),
        ("inspect", word),
        ("inspect", word, "--packages"),
        ("diff", f"oci:{ESCAPES}", word),
        ("diff", f"./{ESCAPES}", word),
        ("inspect", ESCAPES),
    ):
        _, said = atoll(*words)
        assert all(letter.isprintable() or letter == "\n" for letter in said), words
        if words[0] == "diff" and word in words and "small" in words:
            assert all(
                len(line) <= 80
                for line in said.split("Comparing")[0].splitlines()
                if not line.startswith("Reading")
            )
    assert "\x1b" not in json.dumps(atoll.json("diff", "small", word, "--files"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("diff", "store:nothing", "old"), 7, "no image nothing"),
        (("diff", "0" * 64, "old"), 7, "no tree 0000"),
        (("diff", "old", "./nothing"), 7, "there is no ./nothing"),
        (("diff", "old", "nothing.toml"), 7, "there is no nothing.toml"),
        (("diff", "old", "nothing"), 2, "does not name an image"),
        (("diff", "old", "oci-archive:/nothing"), 7, "no such file: /nothing"),
        (("diff", "old", "/dev/null"), 2, "not a recipe, a lock"),
        (("diff", "old", "booted"), 7, "does not run an Atoll system"),
        (("diff", "old", "1", "--root", "/nothing"), 7, "no Atoll system in /nothing"),
        (("inspect", "bare", "--recipe"), 7, "carries no recipe"),
        (("inspect", "old", "--lock"), 7, "carries no lock"),
        (("inspect", "bare", "--packages"), 7, "no list of packages"),
        (("sbom", "bare"), 11, "no package database"),
        (("sbom", "RECIPE"), 2, "is a recipe"),
        (("inspect", "RECIPE"), 2, "is a recipe"),
        (("diff", "RECIPE", "bare"), 7, "carries no recipe"),
        (("diff", "RECIPE", "LOCK"), 2, "cannot be compared"),
    ],
)
def test_mistakes(
    atoll: Shell, tmp_path: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    two_systems(atoll.store)
    keep(atoll.store, {"usr/bin/x": b"x"}, "bare")
    (tmp_path / "atoll.toml").write_text(RECIPE)
    (tmp_path / "other.lock").write_text("")
    files = {"RECIPE": str(tmp_path / "atoll.toml"), "LOCK": str(tmp_path / "other.lock")}
    found, said = atoll(*(files.get(word, word) for word in words))
    assert (found, says in said) == (code, True), said


def test_a_damaged_tree_is_told(atoll: Shell) -> None:
    old, _ = two_systems(atoll.store)
    path = atoll.store.image_path(old)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    code, said = atoll("diff", old, "new")
    assert code == 8 and "its content does not match its name" in said


def test_inspect_prints_what_an_image_carries(atoll: Shell, tmp_path: Path) -> None:
    files = files_of() | {"usr/lib/atoll/lock.toml": b"# a lock\n"}
    tree = keep(atoll.store, files, "small")
    word = publish(atoll.store, tree, tmp_path / "oci", facts=FACTS)
    for reference in ("store:small", tree, word):
        assert atoll.result("inspect", reference, "--recipe") == RECIPE
        assert atoll.result("inspect", reference, "--lock") == "# a lock\n"
        assert atoll.result("inspect", reference, "--packages") == "bash 5.2-1\n"
        found = atoll.json("inspect", reference)
        assert (found["name"], found["kernel"], found["packages"]) == ("small", "6.12-test", 1)
    found = atoll.json("inspect", "small")
    assert (found["carries_recipe"], found["carries_lock"]) == (True, True)


def test_sbom_goes_to_stdout_or_to_a_file(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    keep(open_store(tmp_path / "store", create=True), files_of(), "small")
    store = ("--store", str(tmp_path / "store"))
    assert main(["sbom", "small", *store]) == 0
    printed = capsysbinary.readouterr().out
    assert main(["sbom", "store:small", "--output", str(tmp_path / "out"), *store]) == 0
    assert (tmp_path / "out").read_bytes() == printed
    assert json.loads(printed)["name"] == "small-1"
    assert b"1 packages" in capsysbinary.readouterr().err


def test_top_directories() -> None:
    paths = ["/a", "/etc/a/b", "/usr/lib/x/y", "/usr/x", "/bin"]
    assert [top_directory(path) for path in paths] == ["/", "/etc", "/usr/lib", "/usr", "/"]
