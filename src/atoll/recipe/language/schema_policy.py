"""The schema of a machine's policy: state, updates, health, apps, publishing."""

from __future__ import annotations

from atoll.recipe.language import check_policy as policy
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind
from atoll.recipe.language.schema_program import program_keys

ETC = KeyRule(
    name="etc",
    kind=ValueKind.MAP,
    doc="Which version of a path in /etc wins when the image changes it: image, local or merge.",
    example='{ "ssh/**" = "local" }',
    default_text="changes are merged",
    choices=("image", "local", "merge"),
    check_name=policy.check_etc_pattern,
    first_match=True,
)


def _var_key(name: str, doc: str, example: str) -> KeyRule:
    others = tuple(other for other in ("tree", "state", "drop") if other != name)
    return KeyRule(
        name=name,
        kind=ValueKind.TEXTS,
        doc=doc,
        example=example,
        conflicts=others,
        check=policy.check_var_path,
    )


VAR = TableRule(
    name="var",
    doc="Rules for paths below /var that packages create, in addition to Atoll's own.",
    keys=(
        _var_key(
            "tree", "Directories that belong to the tree and are read-only.", '["/var/lib/app/db"]'
        ),
        _var_key(
            "state",
            "Paths that each machine gets a first copy of, and then owns.",
            '["/var/lib/app"]',
        ),
        _var_key("drop", "Paths to leave out of the tree.", '["/var/cache/app"]'),
    ),
)

UPDATE = TableRule(
    name="update",
    doc="How machines follow this image, unless their owner decides otherwise.",
    keys=(
        KeyRule(
            name="follow",
            doc="The image to take new versions from.",
            example='"docker://registry.example/desktop:stable"',
            default_text="the image that the machine was installed from",
            check=policy.check_image,
        ),
        KeyRule(
            name="auto",
            doc=(
                "What machines do by themselves: nothing, look for a new version, download it, "
                "stage it for the next boot, or reboot into it as well when nobody is logged in."
            ),
            example='"stage"',
            default="none",
            choices=("none", "check", "download", "stage", "reboot"),
        ),
        KeyRule(
            name="window",
            doc="When it happens: a calendar expression, see systemd.time(7).",
            example='"Sun 03:00"',
            default="daily",
            check=policy.check_calendar,
        ),
        KeyRule(
            name="delay",
            kind=ValueKind.NUMBER,
            doc="The maximum random delay of each machine, in seconds.",
            example="600",
            default=3600,
            least=0,
            most=604800,
        ),
        KeyRule(
            name="layers",
            doc=(
                "In a machine file: what an upgrade does when a package of the file no longer fits"
                " the new image. hold keeps the machine as it is, drop leaves the package out."
            ),
            example='"drop"',
            default="hold",
            choices=("hold", "drop"),
        ),
        KeyRule(
            name="reboot_window",
            doc="When machines may reboot by themselves, if not right after staging.",
            example='"Sun 04:00"',
            default_text="in the same window",
            check=policy.check_calendar,
        ),
        KeyRule(
            name="metered",
            kind=ValueKind.BOOLEAN,
            doc="Whether updates may use a metered connection.",
            example="true",
            default=False,
        ),
        KeyRule(
            name="battery",
            kind=ValueKind.BOOLEAN,
            doc="Whether updates are downloaded and staged on battery, too.",
            example="true",
            default=False,
        ),
        KeyRule(
            name="reserve",
            kind=ValueKind.NUMBER,
            doc="How much space automatic updates leave free on the machine, in megabytes.",
            example="2000",
            default=512,
            least=0,
            most=1_000_000,
        ),
    ),
)

HEALTH = TableRule(
    name="health",
    doc="When a boot counts as good.",
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
            doc="A program that must succeed for a boot to be good.",
            row="name",
            keys=program_keys(
                name_doc="Its name in messages.",
                name='"web"',
                text='"curl --fail http://localhost/"',
                source='"checks/web"',
            ),
        ),
    ),
)

KEEP = TableRule(
    name="keep",
    doc="What machines keep, unless their owner decides otherwise.",
    keys=(
        KeyRule(
            name="deployments",
            kind=ValueKind.NUMBER,
            doc="How many deployments to keep, at least 2: one to run and one to fall back to.",
            example="3",
            default_text="the machine decides",
            least=2,
            most=100,
        ),
    ),
)

PUBLISH = TableRule(
    name="publish",
    doc="Where the image is published.",
    keys=(
        KeyRule(
            name="to",
            doc="The image's address, without a tag.",
            example='"docker://registry.example/desktop"',
            default_text="the command names it",
            check=policy.check_publish_to,
        ),
        KeyRule(
            name="tags",
            kind=ValueKind.TEXTS,
            doc="Further tags besides the version.",
            example='["stable"]',
            check=policy.check_tag,
        ),
    ),
)

FLATPAK = TableRule(
    name="flatpak",
    doc=(
        "Flatpak apps. They are stored in the image; machines of this "
        "version do not install them yet."
    ),
    keys=(
        KeyRule(
            name="remotes",
            kind=ValueKind.MAP,
            doc="Remotes: names, and addresses of .flatpakrepo files.",
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
    doc=(
        "A container to work in. It is stored in the image; machines of "
        "this version do not create it yet."
    ),
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="Its name.",
            example='"dev"',
            required=True,
            check=policy.check_box_name,
        ),
        KeyRule(
            name="image",
            doc="Its container image.",
            example='"docker://registry.example/fedora:43"',
            required=True,
            check=policy.check_image,
        ),
        KeyRule(
            name="packages",
            kind=ValueKind.TEXTS,
            doc="Packages to install in it with its own package manager.",
            example='["gcc"]',
            check=policy.check_box_package,
        ),
        KeyRule(
            name="home",
            kind=ValueKind.BOOLEAN,
            doc="Whether your home directory is available in it.",
            example="false",
            default=True,
        ),
    ),
)
