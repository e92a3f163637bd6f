"""``drift --adopt``: the machine file explains what it took over, and nothing else."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import NotFound, NothingToDo
from atoll.layering.adopt import MachineView, plan_adoption
from atoll.layering.adopt_units import parse_install
from atoll.layering.edit_rows import format_value
from atoll.layering.expected_etc import expect_etc
from atoll.machine.drift.etc_drift import EtcPair, find_etc_differences
from atoll.machine.drift.model import Drift, KernelDrift, LocalDrift
from atoll.recipe.language.parse import parse_machine_recipe
from tests.unit.machine.etc_trees import Dir, File, Link, etc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from atoll.layering.adoption import Adoption
    from atoll.machine.drift.etc_drift import EtcDifferences
    from atoll.recipe.model import Recipe
    from tests.unit.machine.etc_trees import What

PLACE = "/usr/lib/systemd/system"
WANTS = "systemd/system/multi-user.target.wants"
ENABLED = "[Unit]\nDescription=x\n[Install]\nWantedBy=multi-user.target\n"
TREE: dict[str, What] = {
    "motd": "hello\n",
    "ssh/sshd_config": "Port 22\n",
    "odd": File("1", mode=0o600),
    "passwd": "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada:/home/ada:/bin/bash\n",
    "group": "root:x:0:\nsudo:x:27:\nvideo:x:44:\nada:x:1000:\n",
    "shadow": "root:*:1:0:99999:7:::\nada:!:1:0:99999:7:::\n",
    "gshadow": "root:*::\nsudo:*::\nvideo:*::\nada:!::\n",
    "subuid": "ada:100000:65536\n",
    f"{WANTS}/on.service": Link(f"{PLACE}/on.service"),
}
HASH = "$y$j9T$abcdefghijklmnopqrstu$vwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWX"


UNITS = {
    "on.service": ENABLED,
    "off.service": ENABLED,
    "off@.service": ENABLED,
    "dm.service": "[Install]\nAlias=display-manager.service\n",
    "pair.service": ENABLED + "Also=pair.socket\n",
    "pair.socket": "[Install]\nWantedBy=sockets.target\n",
}


class UnitFiles:
    """A tree with units that can be enabled, and nothing else."""

    def read(self, path: str) -> bytes | None:
        text = UNITS.get(path.removeprefix("usr/lib/systemd/system/"))
        return None if text is None else text.encode()

    def read_all(self, path: str, suffix: str) -> Iterator[tuple[str, bytes]]:  # noqa: ARG002
        return iter(())

    def names_below(self, path: str, *, directories: bool = True) -> frozenset[str]:  # noqa: ARG002
        return frozenset()


def view_of(
    changed: dict[str, What | None], text: str = "", kernel: tuple[KernelDrift, ...] = ()
) -> MachineView:
    live = {path: what for path, what in {**TREE, **changed}.items() if what is not None}
    pair = EtcPair(tree=etc(TREE), live=etc(live))
    found = find_etc_differences(pair)
    drift = Drift(
        number=1, etc=found.files, units=found.units, accounts=found.accounts, kernel=kernel
    )
    return MachineView(drift=drift, pair=pair, tree=UnitFiles(), text=text)


def adopt(changed: dict[str, What | None], *names: str, text: str = "") -> str:
    """The machine file without its first lines."""
    adopted = plan_adoption(view_of(changed, text), names).text
    return adopted if text else adopted.partition("schema = 1\n")[2].strip("\n")


def recipe_of(adoption: Adoption) -> Recipe:
    return parse_machine_recipe(adoption.text, file="machine.toml").recipe


def unexplained(view: MachineView, adoption: Adoption) -> EtcDifferences:
    """What still differs once the adopted recipe is real."""

    def read_source(name: str) -> bytes | None:
        return adoption.files.get(f"atoll/{name}")

    expected = expect_etc(view.pair, recipe_of(adoption), view.tree, read_source)
    return find_etc_differences(EtcPair(tree=expected, live=view.pair.live))


def test_a_file_becomes_a_row_with_its_text() -> None:
    assert adopt({"motd": "mine\n", "ssh/sshd_config": File('Port 2\nX """y\n', mode=0o640)}) == (
        '[[file]]\npath = "/etc/motd"\ntext = "mine\\n"'
    )
    assert adopt({"a": '1\n\\2\n"', "b": Link("../x")}) == (
        '[[file]]\npath = "/etc/a"\ntext = """\n1\n\\\\2\n\\""""\n\n'
        '[[file]]\npath = "/etc/b"\nlink = "../x"'
    )


def test_contents_that_are_long_or_no_text_are_kept_beside_the_machine_file() -> None:
    adoption = plan_adoption(view_of({"a/b": "x" * 9000, "bell": "\a"}))
    assert adoption.files == {"atoll/files/a/b": b"x" * 9000, "atoll/files/bell": b"\a"}
    assert [file.source for file in recipe_of(adoption).files] == ["files/a/b", "files/bell"]


def test_secrets_are_adopted_only_by_name() -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    changed: dict[str, What | None] = {
        "wifi": File("geheim", mode=0o600),
        "key": key,
        "motd": "mine\n",
        "shadow": str(TREE["shadow"]).replace("ada:!", f"ada:{HASH}"),
    }
    adoption = plan_adoption(view_of(changed))
    assert adoption.adopted == ("/etc/motd",)
    assert {each.name for each in adoption.left if each.secret} == {
        "/etc/wifi",
        "/etc/key",
        "password:ada",
    }
    assert "geheim" not in repr(adoption) and HASH not in adoption.text
    named = plan_adoption(view_of(changed), ["/etc/wifi", "password:ada"])
    assert named.files == {"atoll/files/wifi": b"geheim"}
    assert named.private == {*named.files, "atoll/machine.toml"}
    assert recipe_of(named).files[0].mode == 0o600
    assert recipe_of(named).users[0].password_hash == HASH


def test_units_become_words() -> None:
    changed: dict[str, What | None] = {
        f"{WANTS}/on.service": None,
        f"{WANTS}/off@a.service": Link(f"{PLACE}/off@.service"),
        "systemd/system/x.timer": Link("/dev/null"),
        "systemd/system/display-manager.service": Link(f"{PLACE}/dm.service"),
    }
    assert adopt(changed) == (
        '[units]\nenable = ["dm.service", "off@a.service"]\ndisable = ["on.service"]\n'
        'mask = ["x.timer"]'
    )
    units = recipe_of(plan_adoption(view_of(changed))).units
    assert units.enable == ("dm.service", "off@a.service")
    assert (units.disable, units.mask) == (("on.service",), ("x.timer",))


def test_a_unit_that_others_start_than_it_asks_for_becomes_links() -> None:
    link = "systemd/system/odd.target.wants/off.service"
    adoption = plan_adoption(view_of({link: Link(f"{PLACE}/off.service")}))
    assert recipe_of(adoption).units.enable == ()
    assert recipe_of(adoption).files[0].link == f"{PLACE}/off.service"


def test_what_enabling_a_unit_would_enable_besides_stays_as_it_is() -> None:
    adoption = plan_adoption(view_of({f"{WANTS}/pair.service": Link(f"{PLACE}/pair.service")}))
    units = recipe_of(adoption).units
    assert (units.enable, units.disable) == (("pair.service",), ("pair.socket",))


def test_accounts_become_rows() -> None:
    changed: dict[str, What | None] = {
        "passwd": str(TREE["passwd"]).replace("ada:/bin/bash", "ada:/bin/zsh")
        + "bob:x:1001:1001:Bob B:/srv/bob:/bin/bash\nd:x:200:200::/nonexistent:/usr/sbin/nologin\n",
        "group": str(TREE["group"]).replace("27:", "27:bob").replace("44:", "44:ada")
        + "bob:x:1001:\nd:x:200:\nteam:x:2000:\n",
        "shadow": f"{TREE['shadow']}bob:!:1:0:99999:7:::\nd:!:1::::::\n",
    }
    adoption = plan_adoption(view_of(changed))
    recipe = recipe_of(adoption)
    ada, bob, system = recipe.users
    assert (ada.shell, ada.groups, ada.uid) == ("/bin/zsh", ("video",), None)
    assert (bob.uid, bob.home, bob.gecos, bob.groups) == (1001, "/srv/bob", "Bob B", ("sudo",))
    assert (system.system, system.uid, system.shell) == (True, 200, "/usr/sbin/nologin")
    assert [(group.name, group.gid) for group in recipe.groups] == [("team", 2000)]
    assert adoption.left == ()
    assert unexplained(view_of(changed), adoption).accounts == ()


def test_kernel_arguments_become_words() -> None:
    entry = KernelDrift(where="atoll-1.conf", added=("nomodeset", "panic=0"), removed=("quiet",))
    view = view_of({}, 'schema = 1\n[kernel]\nargs = ["quiet"] # mine\n', (entry,))
    adoption = plan_adoption(view)
    kernel = recipe_of(adoption).kernel
    assert (kernel.args, kernel.remove_args) == (("nomodeset",), ("quiet",))
    assert [each.name for each in adoption.left] == ["kernel"]
    boot = KernelDrift(where="this boot", added=("single",))
    with pytest.raises(NothingToDo, match="for this boot only"):
        plan_adoption(view_of({}, "", (boot,)))


def test_comments_and_order_of_the_machine_file_stay() -> None:
    text = (
        '# mine\nschema = 1\n\n[units]   # units\nenable = [\n  "on.service", # why\n]\n\n'
        '[[file]]\npath = "/etc/motd" # the greeting\ntext = "old"\nmode = "0600"\n\n'
        '[packages]\ninstall = ["htop"]\n'
    )
    changed: dict[str, What | None] = {
        "motd": "new\n",
        "issue": "i\n",
        f"{WANTS}/on.service": None,
    }
    found = adopt(changed, text=text)
    assert found == (
        '# mine\nschema = 1\n\n[units]   # units\ndisable = ["on.service"]\n\n'
        '[[file]]\npath = "/etc/motd" # the greeting\ntext = "new\\n"\n\n'
        '[[file]]\npath = "/etc/issue"\ntext = "i\\n"\n\n'
        '[packages]\ninstall = ["htop"]\n'
    )


def test_only_what_is_named_is_adopted() -> None:
    changed: dict[str, What | None] = {"a/x": "1", "a/y": "2", "ab": "3", "motd": "4"}
    assert plan_adoption(view_of(changed), ["/etc/a"]).adopted == ("/etc/a/x", "/etc/a/y")
    with pytest.raises(NotFound, match="/etc/nothing does not differ"):
        plan_adoption(view_of(changed), ["/etc/nothing"])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"motd": None}, "cannot remove"),
        ({"new": Dir()}, "not directories"),
        ({"hostname": "reef\n"}, "use .system. hostname"),
        ({"x": File("1", xattrs=(("user.x", b"1"),))}, "extended attributes"),
        ({"x": File("1", uid=4711)}, "belongs to user 4711"),
        (
            {
                "passwd": f"{TREE['passwd']}b:x:70000:70000::/home/b:/bin/sh\n",
                "group": f"{TREE['group']}b:x:70000:\n",
            },
            "70000",
        ),
        ({"passwd": f"{TREE['passwd']}b:x:1001:100::/home/b:/bin/sh\n"}, "group of its own"),
    ],
)
def test_what_a_recipe_cannot_say_is_left_with_the_reason(
    changed: dict[str, What | None], why: str
) -> None:
    with pytest.raises(NothingToDo, match=why):
        plan_adoption(view_of(changed))


def test_content_of_opt_is_left_with_the_reason() -> None:
    drift = Drift(number=1, local=(LocalDrift(path="/opt/x", files=1, size=1),), scratch="/run/u")
    pair = EtcPair(tree=etc(TREE), live=etc(TREE))
    view = MachineView(drift=drift, pair=pair, tree=UnitFiles(), text="")
    with pytest.raises(NothingToDo, match="/opt/x: it belongs to the machine"):
        plan_adoption(view)


def test_the_links_that_a_unit_asks_for() -> None:
    found = parse_install(
        "[Unit]\nWantedBy=no.target\n[Install]\nWantedBy=a.target \\\n b.target\nAlias=c.service\n"
        "RequiredBy = d.target\n",
        "system",
        "x.service",
    )
    assert found is not None
    assert found.links == {
        "systemd/system/a.target.wants/x.service",
        "systemd/system/b.target.wants/x.service",
        "systemd/system/c.service",
        "systemd/system/d.target.requires/x.service",
    }
    assert parse_install("[Install]\nAlias=%i.service\n", "system", "x@y.service") is None


@pytest.mark.parametrize(
    "text", ["", "a", "a\n", "a\nb", 'q"\n"""\n\\', "\n", "\n\n", 'x\n"', "tab\tä\n\u20ac\n"]
)
def test_texts_keep_every_character(text: str) -> None:
    document = {"file": [{"path": "/etc/x", "text": format_value(text)}]}
    line = (
        f'schema = 1\n[[file]]\npath = "/etc/x"\ntext = {document["file"][0]["text"].as_string()}\n'  # type: ignore[attr-defined]
    )
    assert parse_machine_recipe(line, file="x").recipe.files[0].text == text


def some_changes(random: Random) -> dict[str, What | None]:
    """Changes as people, programs and accidents make them."""
    texts = ["", "1\n", "a\nb\n", 'x"""\n\\', "\x00\x01", "ä" * 5000, "-----BEGIN PRIVATE KEY-----"]
    changed: dict[str, What | None] = {}
    for path in random.sample(["motd", "ssh/sshd_config", "odd", "a", "b/c", "b/d", "hosts"], 4):
        what: list[What | None] = [
            File(random.choice(texts), mode=random.choice([0o644, 0o755, 0o600, 0o4755])),
            Link(random.choice(["../x", "/usr/lib/y"])),
            None if path in TREE else Dir(mode=random.choice([0o755, 0o700])),
            File("1", uid=random.choice([0, 1000, 4711])),
        ]
        changed[path] = random.choice(what)
    for unit in random.sample(["off.service", "off@x.service", "dm.service", "pair.service"], 2):
        target = random.choice([WANTS, "systemd/system/odd.target.wants"])
        changed[f"{target}/{unit}"] = Link(f"{PLACE}/{unit}")
    if random.random() < 0.5:
        changed[f"{WANTS}/on.service"] = None
    if random.random() < 0.5:
        name = random.choice(["on.service", "x.timer"])
        changed[f"systemd/system/{name}"] = Link("/dev/null")
    return {**changed, **some_accounts(random)}


def some_accounts(random: Random) -> dict[str, What | None]:
    passwd, group, shadow = (str(TREE[name]) for name in ("passwd", "group", "shadow"))
    if random.random() < 0.5:
        passwd = passwd.replace("Ada:", random.choice(["Ada L:", ":", "Ada:"]))
        group = group.replace("sudo:x:27:", random.choice(["sudo:x:27:ada", "sudo:x:28:"]))
    for name, uid in random.sample([("bob", 1001), ("eve", 1002), ("svc", 300), ("big", 70000)], 2):
        gid = random.choice([uid, uid, 27])
        passwd += f"{name}:x:{uid}:{gid}::/home/{name}:{random.choice(['/bin/sh', '/bin/bash'])}\n"
        group += f"{name}:x:{uid}:\n"
        expiry = "0:99999:7:::" if uid >= 1000 else ":::::"
        shadow += f"{name}:{random.choice(['!', HASH])}:1:{expiry}\n"
    if random.random() < 0.5:
        group += "team:x:2000:\n"
    return {"passwd": passwd, "group": group, "shadow": shadow}


@pytest.mark.parametrize("seed", range(25))
def test_the_adopted_recipe_explains_everything_but_what_was_left_out(seed: int) -> None:
    """The recipe is parsed again and applied in a model of a build: what differs then is exactly
    what was said to be left out, and everything was one or the other."""
    view = view_of(some_changes(Random(seed)))
    adoption = plan_adoption(view)
    left = {each.name for each in adoption.left}
    found = unexplained(view, adoption)
    assert {f"/etc/{each.path}" for each in found.files} <= left
    for unit in found.units:
        assert unit.unit in left
    for account in found.accounts:
        fields = {each.field for each in account.fields}
        name = f"{account.kind}:{account.name}"
        assert name in left or (fields == {"password"} and f"password:{account.name}" in left)
    every = {f"/etc/{each.path}" for each in view.drift.etc}
    every |= {each.unit for each in view.drift.units}
    every |= {f"{each.kind}:{each.name}" for each in view.drift.accounts}
    assert every <= {*adoption.adopted, *left, *(f"user:{each[9:]}" for each in left)}
    for path in (each for each in adoption.adopted if each.startswith("/")):
        assert path not in {f"/etc/{each.path}" for each in found.files}
