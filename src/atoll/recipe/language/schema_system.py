"""The schema of a tree's content besides packages: settings, accounts, files, scripts, units."""

from __future__ import annotations

from atoll.recipe.language import check_paths as paths
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind
from atoll.recipe.language.schema_program import program_keys

SYSTEM = TableRule(
    name="system",
    doc="Settings of the whole system.",
    keys=(
        KeyRule(
            name="hostname",
            doc="The machine's name, at most 64 characters.",
            example='"reef"',
            default_text="Debian's default",
            check=values.check_hostname,
        ),
        KeyRule(
            name="locale",
            doc="The locale: language, and formats of dates and numbers.",
            example='"de_DE.UTF-8"',
            default_text="Debian's default",
            check=values.check_locale,
        ),
        KeyRule(
            name="locales",
            kind=ValueKind.TEXTS,
            doc="Further locales that people can choose.",
            example='["en_US.UTF-8"]',
            check=values.check_locale,
        ),
        KeyRule(
            name="timezone",
            doc="The time zone.",
            example='"Europe/Berlin"',
            default_text="Debian's default",
            check=values.check_timezone,
        ),
        KeyRule(
            name="keymap",
            doc="The keyboard layout.",
            example='"de"',
            default_text="Debian's default",
            check=values.check_keymap,
        ),
    ),
)

USER = TableRule(
    name="user",
    doc="A user account. root exists already; it can get keys, a shell or a password.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="The name of the account.",
            example='"ada"',
            required=True,
            check=values.check_user,
        ),
        KeyRule(
            name="uid",
            kind=ValueKind.NUMBER,
            doc="The user id: 1000 to 59999; for a system account 100 to 999.",
            example="1000",
            default_text="one is assigned, and never changes",
        ),
        KeyRule(
            name="gecos",
            doc="The person's name.",
            example='"Ada Lovelace"',
            default="",
            default_text="empty",
            check=values.check_gecos,
        ),
        KeyRule(
            name="shell",
            doc="The login shell.",
            example='"/usr/bin/zsh"',
            default_text="/bin/bash; of a system account /usr/sbin/nologin",
            check=paths.check_absolute,
        ),
        KeyRule(
            name="groups",
            kind=ValueKind.TEXTS,
            doc="Further groups of the account.",
            example='["sudo"]',
            check=values.check_account,
        ),
        KeyRule(
            name="ssh_keys",
            kind=ValueKind.TEXTS,
            doc="Public ssh keys that may log in, each a line of a .pub file.",
            example='["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0XvYH"]',
            unique=False,
            check=values.check_ssh_key,
        ),
        KeyRule(
            name="password",
            doc="A hash as mkpasswd or openssl passwd -6 prints it, never the password.",
            example='"$y$j9T$examplesalt$examplehash"',
            default_text="the password is locked",
            check=values.check_password,
        ),
        KeyRule(
            name="home",
            doc="The home directory, below /home, /var or /srv.",
            example='"/srv/ada"',
            default_text="/home/NAME; of a system account /nonexistent",
            check=paths.check_home,
        ),
        KeyRule(
            name="system",
            kind=ValueKind.BOOLEAN,
            doc="Whether it is the account of a program, not of a person.",
            example="true",
            default=False,
        ),
    ),
)

GROUP = TableRule(
    name="group",
    doc=(
        "A group that no package creates. Every account gets a group of its own name automatically."
    ),
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="The name of the group.",
            example='"reef"',
            required=True,
            check=values.check_group,
        ),
        KeyRule(
            name="gid",
            kind=ValueKind.NUMBER,
            doc="The group id: 1000 to 59999; for a system group 100 to 999.",
            example="2000",
            default_text="one is assigned, and never changes",
        ),
        KeyRule(
            name="system",
            kind=ValueKind.BOOLEAN,
            doc="Whether it is for programs, not for people.",
            example="true",
            default=False,
        ),
    ),
)

FILE = TableRule(
    name="file",
    doc="A file or symbolic link in the tree.",
    row="path",
    keys=(
        KeyRule(
            name="path",
            doc="Its absolute path in the tree, without ..",
            example='"/etc/motd"',
            required=True,
            check=paths.check_file_path,
        ),
        KeyRule(
            name="text",
            doc="The content of the file.",
            example='"An atoll.\\n"',
            default_text="one of source, url or link is required",
            conflicts=("source", "url", "sha256", "link"),
            check=values.check_text,
        ),
        KeyRule(
            name="source",
            doc="A local file with the content; the path is relative to the recipe's folder.",
            example='"files/motd"',
            default_text="one of text, url or link is required",
            conflicts=("text", "url", "sha256", "link"),
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="url",
            doc="The address (http:// or https://) of the content; sha256 verifies it.",
            example='"https://files.example/tool"',
            default_text="one of text, source or link is required",
            conflicts=("text", "source", "link"),
            check=values.check_url,
        ),
        KeyRule(
            name="sha256",
            doc="The SHA-256 of the download, 64 hex digits.",
            example=f'"{"0123456789abcdef" * 4}"',
            default_text="an error with url",
            check=values.check_sha256,
        ),
        KeyRule(
            name="link",
            doc="Makes a symbolic link to this target.",
            example='"../usr/lib/os-release"',
            default_text="one of text, source or url is required",
            conflicts=("text", "source", "url", "sha256", "mode"),
            check=values.check_link,
        ),
        KeyRule(
            name="mode",
            doc="The file mode: octal digits in quotes; not with link.",
            example='"0755"',
            default="0644",
            check=values.check_mode,
        ),
        KeyRule(
            name="owner",
            doc="The owner.",
            example='"ada"',
            default="root",
            check=values.check_account,
        ),
        KeyRule(
            name="group",
            doc="The group.",
            example='"adm"',
            default="root",
            check=values.check_account,
        ),
    ),
)

SCRIPT = TableRule(
    name="script",
    doc=(
        "A program that changes the tree after everything else. It sees "
        "nothing of the building machine but its inputs."
    ),
    row="name",
    keys=(
        *program_keys(
            name_doc="Its name in messages and in the lock.",
            name='"fonts"',
            text='"fc-cache --force"',
            source='"scripts/fonts"',
        ),
        KeyRule(
            name="inputs",
            kind=ValueKind.TEXTS,
            doc="Local files and folders that it can read in /run/atoll/inputs.",
            example='["fonts"]',
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="network",
            kind=ValueKind.BOOLEAN,
            doc=(
                "Whether it may use the network of the building machine; the lock "
                "does not pin what it downloads."
            ),
            example="true",
            default=False,
        ),
    ),
)


def _unit_keys(enable: str, disable: str, mask: str, example: str) -> tuple[KeyRule, ...]:
    docs = {"enable": enable, "disable": disable, "mask": mask}
    return tuple(
        KeyRule(
            name=name,
            kind=ValueKind.TEXTS,
            doc=doc,
            example=example,
            default_text="the default of the packages",
            conflicts=tuple(other for other in docs if other != name),
            check=values.check_unit,
        )
        for name, doc in docs.items()
    )


UNITS = TableRule(
    name="units",
    doc="Which units systemd starts; a unit can be in one list only.",
    keys=(
        *_unit_keys(
            "Units to enable.",
            "Units to disable.",
            "Units to mask: they cannot be started at all.",
            '["ssh.service"]',
        ),
        KeyRule(
            name="dropin",
            kind=ValueKind.MAP,
            doc="Further settings of a unit: the text of a drop-in file.",
            example='{ "ssh.service" = "[Service]\\nMemoryMax=100M\\n" }',
            check=values.check_text,
            check_name=values.check_unit,
        ),
    ),
    tables=(
        TableRule(
            name="user",
            doc="The same for the user manager (systemd --user) of every person who logs in.",
            keys=_unit_keys(
                "User units to enable.",
                "User units to disable.",
                "User units to mask.",
                '["gnome-keyring-daemon.socket"]',
            ),
        ),
    ),
)
