"""A recipe that uses every key, and its values; and the defaults of a minimal one."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from atoll.image.info import VarRules
from atoll.recipe import model
from atoll.recipe.language.parse import parse_problems, parse_recipe
from atoll.recipe.language.schema import each_key

SHA256 = "0123456789abcdef" * 4

WHOLE = f"""
schema = 1
from = "debian:trixie"

[image]
name = "whole"
version = "2"
description = "All there is"
labels = {{ "org.opencontainers.image.source" = "https://git.example/whole", "a" = "b" }}

[debian]
suite = "trixie"
components = ["main", "contrib"]
architectures = ["i386"]
mirror = "https://snapshot.example/debian/{{snapshot}}/"
security_mirror = "https://snapshot.example/debian-security/{{snapshot}}/"
snapshot = "20260820T000000Z"
security = false
updates = false

[[repo]]
name = "vendor"
uris = ["https://packages.example/debian"]
suites = ["stable"]
components = ["main"]
architectures = ["amd64"]
key = "./vendor.asc"
priority = 100
keep = false

[[repo]]
name = "flat"
uris = ["file:///srv/flat"]
suites = ["./"]

[packages]
install = ["systemd-sysv", "./tool.deb", "htop/trixie-backports"]
remove = ["nano"]
versions = {{ "linux-image-amd64" = "6.12.*", "libc6:i386" = "2.41-12" }}
sources = {{ "tool" = "vendor", "podman" = "trixie-backports" }}
recommends = true
debconf = ["steam steam/question select I AGREE"]

[kernel]
package = "linux-image-amd64"
args = ["quiet"]
remove_args = ["splash", "console"]
modules = ["br_netfilter"]
blacklist = ["nouveau"]
initrd_modules = ["virtio_blk"]

[boot]
timeout = 3
title = "The whole"

[system]
hostname = "whole"
locale = "de_DE.UTF-8"
locales = ["en_US.UTF-8"]
timezone = "Europe/Berlin"
keymap = "de"

[[user]]
name = "daemon1"
uid = 200
system = true

[[user]]
name = "ada"
uid = 1000
gecos = "Ada"
shell = "/bin/sh"
groups = ["sudo"]
ssh_keys = []
home = "/srv/ada"
password = "$y$j9T$0123456789abcdefghij"

[[group]]
name = "reef"
gid = 2000
system = false

[[file]]
path = "/etc/motd"
text = "An atoll."
mode = "0600"
owner = "ada"
group = "reef"

[[file]]
path = "/usr/bin/tool"
url = "https://files.example/tool"
sha256 = "{SHA256}"

[[file]]
path = "/usr/bin/other"
source = "files/other"

[[file]]
path = "/etc/os"
link = "../usr/lib/os-release"

[[script]]
name = "fonts"
text = "fc-cache"
inputs = ["fonts", "more/x"]
network = true

[[script]]
name = "late"
source = "late.sh"

[units]
enable = ["ssh.service"]
disable = ["cups.service"]
mask = ["b.timer"]

[units.user]
enable = ["c.socket"]
disable = ["d.service"]
mask = ["e.service"]

[units.dropin]
"ssh.service" = "[Service]\\nNice=1\\n"
"a.service" = ""

[etc]
"ssh/**" = "local"
"motd" = "image"

[var]
tree = ["/var/lib/app/db"]
state = ["/var/lib/app"]
drop = ["/var/cache/app"]

[update]
follow = "docker://registry.example/whole:stable"
auto = "stage"
window = "Sun 03:00"
delay = 60
layers = "drop"
reboot_window = "Sun 04:00"
metered = true
battery = true
reserve = 2000

[health]
units = ["ssh.service"]

[[health.check]]
name = "web"
text = "true"

[[health.check]]
name = "deep"
source = "checks/deep"

[keep]
deployments = 4

[publish]
to = "docker://registry.example/whole"
tags = ["stable"]

[flatpak]
remotes = {{ "flathub" = "https://apps.example/flathub.flatpakrepo" }}
install = ["org.gnome.Calculator"]

[[box]]
name = "dev"
image = "docker://registry.example/fedora:43"
packages = ["gcc"]
home = false
"""

SMALLEST = """schema = 1
from = "debian:trixie"
[image]
name = "hello"
version = "1"
[packages]
install = ["systemd-sysv"]
"""


def test_every_key_becomes_a_value() -> None:
    recipe, problems = parse_problems(WHOLE, file="x/atoll.toml")
    assert not problems
    assert recipe is not None
    assert recipe.base == model.DebianBase(suite="trixie")
    assert recipe.image == model.Image(
        name="whole",
        version="2",
        description="All there is",
        labels=(("a", "b"), ("org.opencontainers.image.source", "https://git.example/whole")),
    )
    assert recipe.debian == model.Debian(
        suite="trixie",
        components=("main", "contrib"),
        architectures=("i386",),
        mirror="https://snapshot.example/debian/{snapshot}/",
        security_mirror="https://snapshot.example/debian-security/{snapshot}/",
        snapshot="20260820T000000Z",
        security=False,
        updates=False,
    )
    assert recipe.repositories == (
        model.Repository(
            name="vendor",
            uris=("https://packages.example/debian",),
            suites=("stable",),
            components=("main",),
            architectures=("amd64",),
            key="./vendor.asc",
            priority=100,
            keep=False,
        ),
        model.Repository(name="flat", uris=("file:///srv/flat",), suites=("./",)),
    )
    assert recipe.packages == model.Packages(
        install=("systemd-sysv", "htop/trixie-backports"),
        local=("./tool.deb",),
        remove=("nano",),
        versions=(("linux-image-amd64", "6.12.*"), ("libc6:i386", "2.41-12")),
        sources=(("tool", "vendor"), ("podman", "trixie-backports")),
        recommends=True,
        debconf=("steam steam/question select I AGREE",),
    )
    assert recipe.kernel == model.Kernel(
        package="linux-image-amd64",
        args=("quiet",),
        remove_args=("splash", "console"),
        modules=("br_netfilter",),
        blacklist=("nouveau",),
        initrd_modules=("virtio_blk",),
    )
    assert recipe.boot == model.Boot(timeout=3, title="The whole")
    assert recipe.system == model.System(
        hostname="whole",
        locale="de_DE.UTF-8",
        locales=("en_US.UTF-8",),
        timezone="Europe/Berlin",
        keymap="de",
    )
    check_the_rest(recipe)


def check_the_rest(recipe: model.Recipe) -> None:
    assert recipe.users == (
        model.User(
            name="daemon1", home="/nonexistent", uid=200, shell="/usr/sbin/nologin", system=True
        ),
        model.User(
            name="ada",
            home="/srv/ada",
            uid=1000,
            gecos="Ada",
            shell="/bin/sh",
            groups=("sudo",),
            password_hash="$y$j9T$0123456789abcdefghij",
        ),
    )
    assert recipe.groups == (model.Group(name="reef", gid=2000),)
    assert recipe.files == (
        model.File(path="/etc/motd", text="An atoll.", mode=0o600, owner="ada", group="reef"),
        model.File(path="/usr/bin/tool", url="https://files.example/tool", sha256=SHA256),
        model.File(path="/usr/bin/other", source="files/other"),
        model.File(path="/etc/os", link="../usr/lib/os-release"),
    )
    assert recipe.scripts == (
        model.Script(name="fonts", text="fc-cache", inputs=("fonts", "more/x"), network=True),
        model.Script(name="late", source="late.sh"),
    )
    assert recipe.units == model.Units(
        enable=("ssh.service",),
        disable=("cups.service",),
        mask=("b.timer",),
        user_enable=("c.socket",),
        user_disable=("d.service",),
        user_mask=("e.service",),
        dropins=(("a.service", ""), ("ssh.service", "[Service]\nNice=1\n")),
    )
    assert recipe.etc == (("ssh/**", "local"), ("motd", "image"))
    assert recipe.var == VarRules(
        tree=("/var/lib/app/db",), state=("/var/lib/app",), drop=("/var/cache/app",)
    )
    assert recipe.update == model.Update(
        follow="docker://registry.example/whole:stable",
        auto="stage",
        window="Sun 03:00",
        delay=60,
        layers="drop",
        reboot_window="Sun 04:00",
        metered=True,
        battery=True,
        reserve=2000,
    )
    assert recipe.health == model.Health(
        units=("ssh.service",),
        checks=(
            model.HealthCheck(name="web", text="true"),
            model.HealthCheck(name="deep", source="checks/deep"),
        ),
    )
    assert recipe.keep == 4
    assert recipe.publish == model.Publish(to="docker://registry.example/whole", tags=("stable",))
    assert recipe.flatpak == model.Flatpak(
        remotes=(("flathub", "https://apps.example/flathub.flatpakrepo"),),
        install=("org.gnome.Calculator",),
    )
    assert recipe.boxes == (
        model.Box(
            name="dev",
            image="docker://registry.example/fedora:43",
            packages=("gcc",),
            home=False,
        ),
    )


def test_the_whole_recipe_has_every_key_of_the_schema() -> None:
    table = tomllib.loads(WHOLE)
    for path, _ in each_key():
        here: list[dict[str, Any]] = [table]
        for name in path.split("."):
            found = [row[name] for row in here if name in row]
            here = found[0] if found and isinstance(found[0], list) else found
        assert found or path == "include", path


def test_what_holds_where_nothing_is_said_is_what_the_model_says() -> None:
    said = parse_recipe(SMALLEST, file="atoll.toml")
    assert said == model.Recipe(
        file="atoll.toml",
        text=SMALLEST,
        sources=(("atoll.toml", SMALLEST),),
        base=model.DebianBase(suite="trixie"),
        image=model.Image(name="hello", version="1"),
        debian=model.Debian(suite="trixie"),
        packages=model.Packages(install=("systemd-sysv",)),
    )


def test_bases() -> None:
    for text, base in (
        ("empty", model.EmptyBase()),
        (
            "docker://registry.example/a:1",
            model.ImageBase(reference="docker://registry.example/a:1"),
        ),
        ("oci:../layout:tag", model.ImageBase(reference="oci:../layout:tag")),
        ("store:hello", model.ImageBase(reference="store:hello")),
        ("../base", model.RecipeBase(path=Path("x/../base"))),
        ("./d.toml#kde", model.RecipeBase(path=Path("x/d.toml"), variant="kde")),
    ):
        suite = '[debian]\nsuite = "sid"\n' if text == "empty" else ""
        recipe = parse_recipe(SMALLEST.replace("debian:trixie", text) + suite, file="x/atoll.toml")
        assert recipe.base == base
        assert recipe.debian.suite == ("sid" if text == "empty" else None)


def test_a_derived_recipe_may_install_nothing() -> None:
    text = 'schema = 1\nfrom = "store:hello"\n[image]\nname = "more"\nversion = "1"\n'
    assert parse_recipe(text, file="r").packages == model.Packages()
