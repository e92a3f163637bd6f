"""What a recipe says of a root, done to a small real one by its own programs."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.base.errors import Damaged, PackageError, RecipeError
from atoll.builder.cache import Cache
from atoll.builder.finish.check_recipe import check_recipe, read_contents
from atoll.builder.finish.image_layout import move_opt
from atoll.builder.finish.presets import write_presets
from atoll.builder.steps.ids import AccountIds
from atoll.builder.steps.known_ids import KNOWN
from atoll.builder.steps.modules import BuildModules
from atoll.builder.steps.plan_steps import plan_settings
from atoll.builder.steps.remap_ids import RemapIds, change_owners, read_ids
from atoll.host.sandbox import Sandbox
from atoll.recipe.model import (
    Debian,
    DebianBase,
    File,
    Group,
    Health,
    HealthCheck,
    Image,
    Kernel,
    Packages,
    Recipe,
    Script,
    System,
    Units,
    User,
)
from tests.fake_registry import fake_registry, ranged
from tests.programs.small_root import KERNEL, ensure_small_root, laid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.network]

EPOCH = 1_788_000_000


@pytest.fixture(scope="module")
def small() -> Path:
    return ensure_small_root()


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Iterator[Path]:
    with laid_over(small, tmp_path / "overlay") as root:
        yield root


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return Recipe(
        file=str(tmp_path / "atoll.toml"),
        text="",
        base=DebianBase(suite="trixie"),
        image=Image(name="small", version="1"),
        debian=Debian(suite="trixie"),
        packages=Packages(),
    )


def apply(recipe: Recipe, root: Path, locked: AccountIds | None = None) -> AccountIds:
    folder = Path(recipe.file).parent
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    ids = locked or AccountIds()
    for step in plan_settings(recipe, Cache(root=folder), ids=ids, epoch=EPOCH):
        step.execute(root, workspace)
    assert list(workspace.iterdir()) == []
    return read_ids(root)


def inside(root: Path, script: str) -> str:
    words = ["chroot", str(root), "sh", "-euc", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_the_system_is_as_the_recipe_says(root: Path, recipe: Recipe) -> None:
    system = System(
        hostname="reef",
        locale="de_DE.UTF-8",
        locales=("fr_FR.UTF-8", "C.UTF-8"),
        timezone="Europe/Berlin",
        keymap="de-nodeadkeys",
    )
    apply(replace(recipe, system=system), root)
    assert inside(root, "locale -a").split() == ["C", "C.utf8", "POSIX", "de_DE.utf8", "fr_FR.utf8"]
    assert inside(root, "cat /etc/default/locale") == "LANG=de_DE.UTF-8\n"
    assert inside(root, "TZ= date -d @0 +%Z; readlink /etc/localtime").split()[1].endswith("Berlin")
    keyboard = inside(root, ". /etc/vconsole.conf; echo $XKBLAYOUT $XKBVARIANT $XKBMODEL")
    assert keyboard == "de nodeadkeys pc105\n"
    # the console gets it at boot from what setupcon has made
    assert "odiaeresis" in inside(root, "zcat /etc/console-setup/cached_*.kmap.gz")
    hosts = inside(root, "cat /etc/hosts")
    assert hosts.count("127.0.1.1") == 1
    assert "reef" in hosts


@pytest.mark.parametrize(
    ("system", "message"),
    [
        (System(keymap="xx"), "no keyboard layout xx"),
        (System(keymap="de-nodeadkey"), "no variant nodeadkey"),
        (System(locales=("de_DE.UTF-9",)), "knows no locale de_DE.UTF-9"),
        (System(timezone="Europe/Atlantis"), "time zone Europe/Atlantis"),
    ],
)
def test_what_the_root_does_not_know_is_an_error(
    root: Path, recipe: Recipe, system: System, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        apply(replace(recipe, system=system), root)


def test_accounts_have_the_ids_that_they_are_to_have(root: Path, recipe: Recipe) -> None:
    wanted = replace(
        recipe,
        groups=(
            Group(name="crew"),
            Group(name="render2", system=True),
            Group(name="lab", gid=4711),
        ),
        users=(
            User(name="ann", home="/home/ann", groups=("crew", "lab")),
            User(name="bob", home="/home/bob", uid=1500, password_hash="$6$" + "a" * 86),
            User(name="kiosk", home="/var/lib/kiosk", system=True, shell="/usr/sbin/nologin"),
            User(name="root", home="/root", ssh_keys=("ssh-ed25519 AAAA",)),
        ),
    )
    ids = apply(wanted, root)
    users, groups = dict(ids.users), dict(ids.groups)
    assert (users["ann"], users["bob"], groups["bob"], groups["lab"]) == (1000, 1500, 1500, 4711)
    assert users["kiosk"] == groups["kiosk"] in range(600, 900)
    assert groups["render2"] in range(600, 900)
    assert inside(root, "id -Gn ann").split() == ["ann", "lab", "crew"] or "crew" in inside(
        root, "id -Gn ann"
    )
    assert inside(root, "stat -c '%U %a' /var/lib/kiosk /home/ann").split("\n")[:2] == [
        "kiosk 750",
        "ann 700",
    ]
    assert inside(root, "cat /root/.ssh/authorized_keys") == "ssh-ed25519 AAAA\n"


def test_the_lock_keeps_ids_though_accounts_come_and_go(root: Path, recipe: Recipe) -> None:
    people = (User(name="ann", home="/home/ann"), User(name="bob", home="/home/bob"))
    locked = AccountIds(users=(("bob", 1007), ("messagebus", 777)), groups=(("messagebus", 778),))
    ids = apply(replace(recipe, users=people), root, locked)
    assert dict(ids.users)["bob"] == 1007
    assert dict(ids.users)["messagebus"] == 777
    assert dict(ids.groups)["messagebus"] == 778
    owner = "stat -c '%U:%G' /usr/lib/dbus-1.0/dbus-daemon-launch-helper"
    assert inside(root, owner) == "root:messagebus\n"


def test_packages_accounts_get_the_tables_ids_and_files_follow(root: Path, recipe: Recipe) -> None:
    helper = root / "usr/lib/dbus-1.0/dbus-daemon-launch-helper"
    before = stat.S_IMODE(helper.stat().st_mode)
    assert before & stat.S_ISUID
    inside(
        root,
        "install -o avahi -g messagebus -m 2755 /bin/true /usr/bin/odd"
        "; setcap cap_net_raw+ep /usr/bin/odd; ln /usr/bin/odd /usr/bin/odd2"
        "; mkdir /etc/acl; setfacl -m u:avahi:rx,g:messagebus:rwx,d:u:avahi:r /etc/acl",
    )
    ids = apply(recipe, root)
    for name, number in ids.users:
        assert number == KNOWN[name], name
    assert stat.S_IMODE(helper.stat().st_mode) == before
    assert helper.stat().st_gid == KNOWN["messagebus"]
    odd = (root / "usr/bin/odd").stat()
    assert (odd.st_uid, odd.st_gid, odd.st_nlink) == (KNOWN["avahi"], KNOWN["messagebus"], 2)
    assert stat.S_IMODE(odd.st_mode) == 0o2755
    assert "cap_net_raw=ep" in inside(root, "getcap /usr/bin/odd")
    acl = inside(root, "getfacl --absolute-names /etc/acl")
    assert {"user:avahi:r-x", "group:messagebus:rwx", "default:user:avahi:r--"} <= set(acl.split())
    assert inside(root, "find / -xdev -nouser -o -xdev -nogroup") == ""


def test_declared_accounts_are_made(root: Path, recipe: Recipe) -> None:
    """Else each machine makes them at its first boot, with other ids than its siblings."""
    declared = root / "usr/lib/sysusers.d/zed.conf"
    declared.write_text('u zed - "Zed" /\n')
    ids = apply(recipe, root)
    assert dict(ids.users)["zed"] == dict(ids.groups)["zed"] in range(600, 900)
    before = inside(root, "cat /etc/passwd /etc/group")
    inside(root, "systemd-sysusers")
    assert inside(root, "cat /etc/passwd /etc/group") == before


def test_what_is_moved_out_of_opt_keeps_its_bits(small: Path, tmp_path: Path) -> None:
    """Across layers nothing can be renamed: it is copied, with everything that makes it work."""
    first = tmp_path / "first"
    with laid_over(small, tmp_path / "one") as root:
        inside(
            root,
            "mkdir -p /opt/x/bin; cd /opt/x/bin; cp /bin/true ping; ln ping pong; cp ping raise"
            "; chmod 4755 raise; setcap cap_net_raw+ep ping; chown avahi raise; chmod 4755 raise"
            "; setfacl -m u:avahi:rx ping",
        )
        subprocess.run(["cp", "-a", tmp_path / "one/upper", first], check=True)
    with laid_over(first, tmp_path / "two") as root:
        (root / "usr/lib").mkdir(parents=True)
        uid = (root / "opt/x/bin/raise").stat().st_uid
        move_opt(root)
        ping, pong, raises = (
            root / "usr/lib/opt/x/bin" / name for name in ("ping", "pong", "raise")
        )
        assert ping.stat().st_ino == pong.stat().st_ino
        assert os.getxattr(ping, "security.capability") == os.getxattr(pong, "security.capability")
        assert "system.posix_acl_access" in os.listxattr(ping)
        assert stat.S_IMODE(raises.stat().st_mode) == 0o4755
        assert raises.stat().st_uid == uid


def test_hard_links_stay_one_file_across_layers(small: Path, tmp_path: Path) -> None:
    with laid_over(small, tmp_path / "one") as root:
        inside(root, "install -o avahi /bin/true /usr/bin/odd; ln /usr/bin/odd /usr/bin/odd2")
        first = tmp_path / "first"
        subprocess.run(["cp", "-a", tmp_path / "one/upper", first], check=True)
    with laid_over(first, tmp_path / "two") as root:
        uid = (root / "usr/bin/odd").stat().st_uid
        change_owners(root, {uid: 555}, {})
        one, two = (root / "usr/bin/odd").stat(), (root / "usr/bin/odd2").stat()
        assert (one.st_uid, one.st_ino) == (two.st_uid, two.st_ino) == (555, one.st_ino)


def test_the_order_of_installation_leaves_no_trace(root: Path, small: Path, tmp_path: Path) -> None:
    make = ["adduser --system --group --quiet zeta", "adduser --system --group --quiet alpha"]
    use = "for u in alpha zeta; do install -d -o $u -g $u /etc/$u; gpasswd -a $u audio; done"
    use += "; useradd --system gnat; gpasswd -a root zeta"
    seen = []
    for number, order in enumerate((make, make[::-1])):
        with laid_over(small, tmp_path / str(number)) as tree:
            inside(tree, "; ".join([*order, use]))
            recipe = Recipe(
                file="x",
                text="",
                base=DebianBase(suite="trixie"),
                image=Image(name="x", version="1"),
                debian=Debian(),
                packages=Packages(),
            )
            step = RemapIds(recipe=recipe, locked=AccountIds())
            step.execute(tree, tmp_path)
            step.execute(tree, tmp_path)
            files = [(tree / "etc" / name).read_bytes() for name in ("passwd", "group", "gshadow")]
            owners = inside(tree, "stat -c '%u %g' /etc/alpha /etc/zeta")
            seen.append((files, owners))
    assert seen[0] == seen[1]
    assert root.exists()


def test_files_and_links(root: Path, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "logo").write_bytes(b"\x89PNG")
    files = (
        File(path="/etc/one", text="it's\n", mode=0o640, group="adm"),
        File(path="/usr/share/logo", source="logo"),
        File(path="/etc/motd", link="/usr/share/logo"),
        *(File(path=f"/usr/share/many/{n}", text=str(n)) for n in range(1200)),
    )
    apply(replace(recipe, files=files), root)
    assert inside(root, "stat -c '%a %U:%G' /etc/one; cat /etc/one") == "640 root:adm\nit's\n"
    assert inside(root, "readlink /etc/motd") == "/usr/share/logo\n"
    assert inside(root, "ls /usr/share/many | wc -l") == "1200\n"


def test_a_link_never_replaces_a_directory(root: Path, recipe: Recipe) -> None:
    with pytest.raises(RecipeError, match="cannot overwrite directory"):
        apply(replace(recipe, files=(File(path="/etc/systemd", link="/x"),)), root)


def test_scripts_see_the_root_their_inputs_and_nothing_else(
    root: Path, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "theme").mkdir()
    (tmp_path / "theme/run").write_text("#!/bin/sh\necho theme\n")
    (tmp_path / "theme/run").chmod(0o700)
    os.chown(tmp_path / "theme/run", 1234, 1234)
    text = """
    stat -c '%n %u %a %Y' /run/atoll/inputs/theme/run > /etc/seen
    /run/atoll/inputs/theme/run >> /etc/seen
    env | sort | grep -v '^PWD\\|^_=\\|^OLDPWD\\|^SHLVL' >> /etc/seen
    tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' >> /etc/seen
    [ -z "$(ls -A /sys)" ]
    touch /run/atoll/inputs/theme/new || true
    umask >> /etc/seen
    """
    program = tmp_path / "program.py"
    program.write_text("#!/bin/sh\necho two >> /etc/seen\n")
    scripts = (
        Script(name="look", text=text, inputs=("theme",)),
        Script(name="second", source="program.py"),
    )
    apply(replace(recipe, scripts=scripts), root)
    said = inside(root, "cat /etc/seen").splitlines()
    assert said[:2] == ["/run/atoll/inputs/theme/run 0 755 0", "theme"]
    assert said[2:] == [
        "DEBIAN_FRONTEND=noninteractive",
        "HOME=/root",
        "LC_ALL=C.UTF-8",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        f"SOURCE_DATE_EPOCH={EPOCH}",
        "TZ=UTC",
        "lo",
        "0022",
        "two",
    ]
    assert not (tmp_path / "theme/new").exists()
    assert "Read-only" in (tmp_path / "logs/script-look.log").read_text()


def test_a_script_without_network_reaches_nothing(root: Path, recipe: Recipe) -> None:
    text = (
        "cat /proc/net/route | tail -n +2 > /etc/routes; cat /proc/net/dev | wc -l >> /etc/routes"
    )
    apply(replace(recipe, scripts=(Script(name="look", text=text),)), root)
    assert inside(root, "cat /etc/routes") == "3\n"
    online = Script(name="look", text="tail -n +2 /proc/net/route > /etc/routes", network=True)
    apply(replace(recipe, scripts=(online,)), root)
    assert inside(root, "cat /etc/routes") != ""


def test_a_failed_script_says_where_and_why(root: Path, recipe: Recipe, tmp_path: Path) -> None:
    text = "true\necho so far\ngrep nothing /etc/hostname-of-nobody\necho never\n"
    with pytest.raises(RecipeError) as raised:
        apply(replace(recipe, scripts=(Script(name="break", text=text),)), root)
    assert "the script break ended with status 2 in its line 3\n" in raised.value.message
    assert "No such file" in raised.value.message
    assert str(tmp_path / "logs/script-break.log") in (raised.value.hint or "")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dpkg --purge --force-all cron", "installs or removes packages"),
        ("useradd eve", "makes accounts"),
        ("groupadd eves", "makes groups"),
    ],
)
def test_scripts_are_refused_what_the_recipe_says_elsewhere(
    root: Path, recipe: Recipe, text: str, what: str
) -> None:
    with pytest.raises(RecipeError, match=what):
        apply(replace(recipe, scripts=(Script(name="sly", text=text),)), root)


def test_units_of_the_system_and_of_users(root: Path, recipe: Recipe) -> None:
    unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=default.target\n"
    units = Units(
        enable=("serial-getty@ttyS1.service",),
        disable=("cron.service",),
        mask=("ssh.socket",),
        user_enable=("tool.service",),
        user_mask=("other.service",),
        dropins=(("ssh.service", "[Service]\nRestart=always\n"),),
    )
    files = (
        File(path="/usr/lib/systemd/user/tool.service", text=unit),
        File(path="/usr/lib/systemd/user/other.service", text=unit),
        File(path="/usr/lib/systemd/system/shown.service", text="[Service]\nExecStart=/bin/true\n"),
        File(path="/usr/lib/systemd/system/shown3.service", link="shown.service"),
        File(path="/etc/systemd/system/show.service", link="/lib/systemd/system/shown3.service"),
    )
    apply(replace(recipe, units=units, files=files), root)
    write_presets(root)
    links = inside(root, "cd /etc/systemd; find . -type l -printf '%P %l\\n'").splitlines()
    found = dict(line.split(" ", 1) for line in links)
    assert "system/getty.target.wants/serial-getty@ttyS1.service" in found
    assert not any("cron" in name for name in found)
    assert found["system/ssh.socket"] == "/dev/null"
    assert found["user/other.service"] == "/dev/null"
    assert "user/default.target.wants/tool.service" in found
    assert "system/show.service" in found
    text = inside(root, "cat /usr/lib/systemd/system/ssh.service.d/50-recipe.conf")
    assert text == "[Service]\nRestart=always\n"
    before = inside(root, "find /etc/systemd -type l | sort")
    inside(root, "systemctl --root=/ preset-all; systemctl --global preset-all")
    assert inside(root, "find /etc/systemd -type l | sort") == before


def links_of(root: Path) -> dict[str, str]:
    links = inside(root, "cd /etc/systemd; find . -type l -printf '%P %l\\n'").splitlines()
    return dict(line.split(" ", 1) for line in links)


def is_enabled(root: Path, unit: str, *more: str) -> str:
    """What systemctl says."""
    words = ["chroot", str(root), "systemctl", *more, "is-enabled", unit]
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.strip()


def check(root: Path, recipe: Recipe) -> None:
    """The whole recipe against the root, after presets and after systemd's own first boot."""
    contents = read_contents(root, recipe)
    write_presets(root)
    check_recipe(root, recipe, contents)
    before = inside(root, "find /etc/systemd -type l | sort")
    inside(root, "systemctl --root=/ preset-all; systemctl --root=/ --global preset-all")
    inside(root, "systemctl --root=/ --preset-mode=enable-only preset-all")
    assert inside(root, "find /etc/systemd -type l | sort") == before


def test_a_disabled_unit_stays_so_though_an_enabled_one_names_it_in_also(
    root: Path, recipe: Recipe
) -> None:
    unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    files = (
        File(path="/usr/lib/systemd/system/one.service", text=f"{unit}Also=two.service\n"),
        File(path="/usr/lib/systemd/system/two.service", text=f"{unit}Also=three@x.service\n"),
        File(path="/usr/lib/systemd/system/three@.service", text=unit),
        File(
            path="/usr/lib/systemd/system/four.service",
            text=f"{unit}Alias=quattro.service\nAlso=ssh.service\n",
        ),
        File(path="/usr/lib/systemd/user/one.service", text=f"{unit}Also=two.service\n"),
        File(path="/usr/lib/systemd/user/two.service", text=unit),
    )
    units = Units(
        enable=("systemd-networkd.service", "one.service", "ssh.service"),
        disable=("systemd-networkd-wait-online.service", "two.service", "four.service", "cron"),
        user_enable=("one.service",),
        user_disable=("two.service",),
    )
    recipe = replace(recipe, units=units, files=files)
    apply(recipe, root)
    check(root, recipe)
    for name, state in (
        ("systemd-networkd.service", "enabled"),
        ("systemd-networkd.socket", "enabled"),
        ("systemd-networkd-wait-online.service", "disabled"),
        ("one.service", "enabled"),
        ("two.service", "disabled"),
        ("three@x.service", "enabled"),
        ("ssh.service", "enabled"),
        ("four.service", "disabled"),
        ("cron.service", "disabled"),
    ):
        assert is_enabled(root, name) == state, name
    assert is_enabled(root, "two.service", "--global") == "disabled"
    assert is_enabled(root, "one.service", "--global") == "enabled"


def test_a_unit_whose_file_is_in_etc_is_masked_and_a_masked_one_enabled(
    root: Path, recipe: Recipe
) -> None:
    unit = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
    (root / "etc/systemd/system/local.service").write_text(unit)
    inside(root, "systemctl mask cron.service; systemctl enable local.service")
    units = Units(enable=("cron.service",), mask=("local.service", "ssh"))
    recipe = replace(recipe, units=units)
    apply(recipe, root)
    check(root, recipe)
    assert [is_enabled(root, name) for name in ("local", "ssh", "cron")] == [
        "masked",
        "masked",
        "enabled",
    ]


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (Units(enable=("systemd-journald.socket", "dbus.service")), None),
        (Units(enable=("systemd-hostnamed.service",)), "not enabled: it has no"),
        (Units(disable=("systemd-journald.socket",)), "still starts, because of /usr/lib/systemd"),
        (Units(disable=("serial-getty@ttyS0.service",)), "systemd-getty-generator"),
        (Units(enable=("apt-daily.timer",)), "Atoll masks it"),
    ],
)
def test_what_systemctl_takes_and_does_not_do_ends_the_build(
    root: Path, recipe: Recipe, units: Units, message: str | None
) -> None:
    recipe = replace(recipe, units=units)
    apply(recipe, root)
    if message is None:
        check(root, recipe)
        return
    with pytest.raises(RecipeError, match=message):
        check(root, recipe)


def test_kernel_modules_are_checked(root: Path, recipe: Recipe) -> None:
    kernel = Kernel(
        modules=("fake_driver", "built-in-fs"),
        blacklist=("nouveau",),
        initrd_modules=("fake-driver",),
    )
    apply(replace(recipe, kernel=kernel), root)
    assert inside(root, "cat /usr/lib/modules-load.d/50-recipe.conf").split() == [
        "fake_driver",
        "built-in-fs",
    ]
    assert inside(root, "cat /usr/lib/modprobe.d/50-recipe.conf") == "blacklist nouveau\n"
    assert "fake-driver" in inside(root, "cat /usr/lib/dracut/dracut.conf.d/60-recipe.conf")
    with pytest.raises(RecipeError, match="has no module fake_drive"):
        apply(replace(recipe, kernel=Kernel(modules=("fake_drive",))), root)


def test_what_is_derived_adds_to_its_base(root: Path, recipe: Recipe) -> None:
    apply(replace(recipe, kernel=Kernel(modules=("fake_driver",)), keep=5), root)
    apply(replace(recipe, kernel=Kernel(modules=("built-in-fs",))), root)
    assert inside(root, "cat /usr/lib/modules-load.d/50-recipe.conf").split() == [
        "fake_driver",
        "built-in-fs",
    ]
    assert '"keep": 5' in inside(root, "cat /usr/lib/atoll/policy.json")


def test_health_checks_are_programs(root: Path, recipe: Recipe) -> None:
    health = Health(units=("ssh.service",), checks=(HealthCheck(name="web", text="exit 3\n"),))
    apply(replace(recipe, health=health), root)
    assert inside(root, "/usr/lib/atoll/health.d/web || echo $?") == "3\n"
    check = "/usr/lib/atoll/health.d/10-units 2>&1 || true"
    assert "ssh.service is" in inside(root, check)


def test_files_of_the_web_are_fetched_once_and_checked(
    root: Path, recipe: Recipe, tmp_path: Path
) -> None:
    content = b"from the web\n" * 9000
    with fake_registry(tmp_path) as server:
        server.bend = lambda asked, _: ranged(asked, content)
        file = File(
            path="/usr/share/web",
            url=f"http://{server.address}/x",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        apply(replace(recipe, files=(file,)), root)
        asked = len(server.asked)
        apply(replace(recipe, files=(file,)), root)
        assert len(server.asked) == asked
        with pytest.raises(Damaged, match="has the SHA-256"):
            apply(replace(recipe, files=(replace(file, sha256="0" * 64),)), root)
    assert (root / "usr/share/web").read_bytes() == content
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == [file.sha256]


DKMS = ("dkms", "acpi-call-dkms", "linux-image-cloud-amd64", "linux-headers-cloud-amd64")
"""acpi_call builds for every kernel; its source is one file."""


@pytest.mark.long
def test_modules_are_built_for_the_images_kernel_the_same_twice(
    small: Path, tmp_path: Path
) -> None:
    with laid_over(small, tmp_path / "packages") as root:
        inside_with_network(root, f"apt-get update; {INSTALL} {' '.join(DKMS)}")
        assert not list((root / "var/lib/dkms").glob("mok*"))
        assert not list(root.glob("usr/lib/modules/*/updates"))
        fake = root / "usr/lib/modules" / KERNEL / "vmlinuz"
        fake.unlink()
        packages = tmp_path / "with-dkms"
        subprocess.run(["cp", "-a", root, packages], check=True)
    seen = []
    for number in range(2):
        with laid_over(packages, tmp_path / str(number)) as root:
            BuildModules(epoch=EPOCH, logs=tmp_path / "logs").execute(root, tmp_path)
            (built,) = root.glob("usr/lib/modules/*/updates/dkms/acpi_call.ko.xz")
            kernel = built.parts[-4]
            said = inside(root, f"modinfo -k {kernel} acpi_call")
            assert f"vermagic:       {kernel} " in said
            assert "signer" not in said
            upper = tmp_path / str(number) / "upper"
            seen.append(
                {
                    str(path.relative_to(upper)): hashlib.sha256(path.read_bytes()).hexdigest()
                    for path in upper.rglob("*")
                    if path.is_file() and not path.is_symlink()
                }
            )
    assert seen[0] == seen[1]
    assert not any("mok" in name or name.endswith("make.log") for name in seen[0])
    with laid_over(packages, tmp_path / "broken") as root:
        (source,) = root.glob("usr/src/acpi-call-*/acpi_call.c")
        source.write_text("#error this is broken\n")
        with pytest.raises(PackageError, match="this is broken"):
            BuildModules(epoch=EPOCH, logs=tmp_path / "logs").execute(root, tmp_path)


INSTALL = "DEBIAN_FRONTEND=noninteractive INITRD=No apt-get install -qy --no-install-recommends"


def inside_with_network(root: Path, script: str) -> None:
    """As a build installs packages: with Atoll's own configuration of dkms there before."""
    name = "etc/dkms/framework.conf.d/50-atoll-system.conf"
    (root / name).parent.mkdir(parents=True)
    (root / name).write_bytes((Path(__file__).parents[2] / "system" / name).read_bytes())
    make_initrd = root / "usr/lib/atoll/make-initrd"  # by which a system of Atoll's is known
    make_initrd.parent.mkdir(parents=True, exist_ok=True)
    make_initrd.write_text("#!/bin/sh\n")
    make_initrd.chmod(0o755)
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
    Sandbox(root=root, network=True).run(["sh", "-euc", script])
