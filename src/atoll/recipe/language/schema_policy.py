"""The schema of what becomes of a machine later: state, updates, health, apps, publishing."""

from __future__ import annotations

from atoll.recipe.language import check_policy as policy
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind
from atoll.recipe.language.schema_program import program_keys

ETC = KeyRule(
    name="etc",
    kind=ValueKind.MAP,
    doc="Whose version of a path in /etc wins when the image changes: image, local or merge.",
    example='{ "ssh/**" = "local" }',
    otherwise="changes are merged",
    choices=("image", "local", "merge"),
    check_name=policy.check_etc_pattern,
    foremost=True,
)


def _var_key(name: str, doc: str, example: str) -> KeyRule:
    others = tuple(other for other in ("tree", "state", "drop") if other != name)
    return KeyRule(
        name=name,
        kind=ValueKind.TEXTS,
        doc=doc,
        example=example,
        rivals=others,
        check=policy.check_var_path,
    )


VAR = TableRule(
    name="var",
    doc="What becomes of paths below /var that packages leave there, beside Atoll's own rules.",
    keys=(
        _var_key("tree", "Directories that belong to the tree, read-only.", '["/var/lib/app/db"]'),
        _var_key("state", "Paths that each machine begins with and then owns.", '["/var/lib/app"]'),
        _var_key("drop", "Paths that are left out of the tree.", '["/var/cache/app"]'),
    ),
)

UPDATE = TableRule(
    name="update",
    doc="How machines follow this image, unless their owner says otherwise.",
    keys=(
        KeyRule(
            name="follow",
            doc="The image that machines take new versions from.",
            example='"docker://registry.example/desktop:stable"',
            otherwise="where the machine was installed from",
            check=policy.check_image,
        ),
        KeyRule(
            name="auto",
            doc="How much happens by itself: none, check, download or stage."
            " No machine of this version acts on it.",
            example='"stage"',
            default="none",
            choices=("none", "check", "download", "stage"),
        ),
        KeyRule(
            name="window",
            doc="When that happens, a calendar expression of systemd.time(7).",
            example='"Sun 03:00"',
            default="daily",
            check=policy.check_calendar,
        ),
        KeyRule(
            name="delay",
            kind=ValueKind.NUMBER,
            doc="How many seconds at most each machine waits at random.",
            example="600",
            default=3600,
            least=0,
            most=604800,
        ),
    ),
)

HEALTH = TableRule(
    name="health",
    doc="What makes a boot a good one.",
    keys=(
        KeyRule(
            name="units",
            kind=ValueKind.TEXTS,
            doc="Units that must be active.",
            example='["ssh.service"]',
            check=values.check_unit,
        ),
    ),
    tables=(
        TableRule(
            name="check",
            doc="A program that must succeed.",
            row="name",
            keys=program_keys(
                called="What it is called in messages.",
                name='"web"',
                text='"curl --fail http://localhost/"',
                source='"checks/web"',
            ),
        ),
    ),
)

KEEP = TableRule(
    name="keep",
    doc="What stays on machines, unless their owner says otherwise.",
    keys=(
        KeyRule(
            name="deployments",
            kind=ValueKind.NUMBER,
            doc="How many deployments stay: one to run, one to fall back to, and more.",
            example="3",
            otherwise="the machine decides",
            least=2,
            most=100,
        ),
    ),
)

PUBLISH = TableRule(
    name="publish",
    doc="Where the image goes.",
    keys=(
        KeyRule(
            name="to",
            doc="The image's place, without a tag.",
            example='"docker://registry.example/desktop"',
            otherwise="a command says it",
            check=policy.check_publish_to,
        ),
        KeyRule(
            name="tags",
            kind=ValueKind.TEXTS,
            doc="Tags beside the version.",
            example='["stable"]',
            check=policy.check_tag,
        ),
    ),
)

FLATPAK = TableRule(
    name="flatpak",
    doc="Apps for machines: carried in the image; no machine of this version installs them.",
    keys=(
        KeyRule(
            name="remotes",
            kind=ValueKind.MAP,
            doc="Where apps come from: names and the addresses of .flatpakrepo files.",
            example='{ "flathub" = "https://apps.example/flathub.flatpakrepo" }',
            check=values.check_url,
            check_name=policy.check_remote_name,
        ),
        KeyRule(
            name="install",
            kind=ValueKind.TEXTS,
            doc="The ids of apps.",
            example='["org.gnome.Calculator"]',
            check=policy.check_app,
        ),
    ),
)

BOX = TableRule(
    name="box",
    doc="A container to work in: carried in the image; no machine of this version makes it.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="What it is called.",
            example='"dev"',
            required=True,
            check=policy.check_box_name,
        ),
        KeyRule(
            name="image",
            doc="The container image that it is made from.",
            example='"docker://registry.example/fedora:43"',
            required=True,
            check=policy.check_image,
        ),
        KeyRule(
            name="packages",
            kind=ValueKind.TEXTS,
            doc="What is installed in it, by its own package manager.",
            example='["gcc"]',
            check=policy.check_box_package,
        ),
        KeyRule(
            name="home",
            kind=ValueKind.SWITCH,
            doc="Whether the person's home is in it.",
            example="false",
            default=True,
        ),
    ),
)
