"""The schema of what is in the tree beside packages: settings, accounts, files, units."""

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
            otherwise="Debian's default",
            check=values.check_hostname,
        ),
        KeyRule(
            name="locale",
            doc="Language and customs of messages, dates and numbers.",
            example='"de_DE.UTF-8"',
            otherwise="Debian's default",
            check=values.check_locale,
        ),
        KeyRule(
            name="locales",
            kind=ValueKind.TEXTS,
            doc="More locales that people can choose.",
            example='["en_US.UTF-8"]',
            check=values.check_locale,
        ),
        KeyRule(
            name="timezone",
            doc="The time zone.",
            example='"Europe/Berlin"',
            otherwise="Debian's default",
            check=values.check_timezone,
        ),
        KeyRule(
            name="keymap",
            doc="The layout of the keyboard.",
            example='"de"',
            otherwise="Debian's default",
            check=values.check_keymap,
        ),
    ),
)

USER = TableRule(
    name="user",
    doc="An account; root is there already, and can be given keys, a shell or a password.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="The account's name.",
            example='"ada"',
            required=True,
            check=values.check_user,
        ),
        KeyRule(
            name="uid",
            kind=ValueKind.NUMBER,
            doc="The account's number: 1000 to 59999, of a system account 100 to 999.",
            example="1000",
            otherwise="one is chosen, and stays",
        ),
        KeyRule(
            name="gecos",
            doc="The person's name.",
            example='"Ada Lovelace"',
            default="",
            otherwise="empty",
            check=values.check_gecos,
        ),
        KeyRule(
            name="shell",
            doc="The program that a login starts.",
            example='"/usr/bin/zsh"',
            otherwise="/bin/bash; of a system account /usr/sbin/nologin",
            check=paths.check_absolute,
        ),
        KeyRule(
            name="groups",
            kind=ValueKind.TEXTS,
            doc="More groups that the account is in.",
            example='["sudo"]',
            check=values.check_account,
        ),
        KeyRule(
            name="ssh_keys",
            kind=ValueKind.TEXTS,
            doc="Public keys that may log in, each the line of a .pub file.",
            example='["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0XvYH"]',
            unique=False,
            check=values.check_ssh_key,
        ),
        KeyRule(
            name="password",
            doc="A hash as mkpasswd or openssl passwd -6 prints it, never the password.",
            example='"$y$j9T$examplesalt$examplehash"',
            otherwise="the password is locked",
            check=values.check_password,
        ),
        KeyRule(
            name="home",
            doc="The home directory, below /home, /var or /srv.",
            example='"/srv/ada"',
            otherwise="/home/NAME; of a system account /nonexistent",
            check=paths.check_home,
        ),
        KeyRule(
            name="system",
            kind=ValueKind.SWITCH,
            doc="Whether it is a program's account and no person's.",
            example="true",
            default=False,
        ),
    ),
)

GROUP = TableRule(
    name="group",
    doc="A group that no package makes; accounts have a group of their own name anyway.",
    row="name",
    keys=(
        KeyRule(
            name="name",
            doc="The group's name.",
            example='"reef"',
            required=True,
            check=values.check_group,
        ),
        KeyRule(
            name="gid",
            kind=ValueKind.NUMBER,
            doc="The group's number: 1000 to 59999, of a system group 100 to 999.",
            example="2000",
            otherwise="one is chosen, and stays",
        ),
        KeyRule(
            name="system",
            kind=ValueKind.SWITCH,
            doc="Whether it is for programs and not for people.",
            example="true",
            default=False,
        ),
    ),
)

FILE = TableRule(
    name="file",
    doc="A file or a symbolic link of the tree.",
    row="path",
    keys=(
        KeyRule(
            name="path",
            doc="Where it is in the tree: an absolute path without ..",
            example='"/etc/motd"',
            required=True,
            check=paths.check_file_path,
        ),
        KeyRule(
            name="text",
            doc="What is in the file.",
            example='"An atoll.\\n"',
            otherwise="there must be source, url or link",
            rivals=("source", "url", "sha256", "link"),
            check=values.check_text,
        ),
        KeyRule(
            name="source",
            doc="A local file that holds what is in it, relative to the recipe's folder.",
            example='"files/motd"',
            otherwise="there must be text, url or link",
            rivals=("text", "url", "sha256", "link"),
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="url",
            doc="An address (http:// or https://) that gives what is in it, and sha256 proves it.",
            example='"https://files.example/tool"',
            otherwise="there must be text, source or link",
            rivals=("text", "source", "link"),
            check=values.check_url,
        ),
        KeyRule(
            name="sha256",
            doc="The SHA-256 of what url gives, 64 hex digits.",
            example=f'"{"0123456789abcdef" * 4}"',
            otherwise="an error with url",
            check=values.check_sha256,
        ),
        KeyRule(
            name="link",
            doc="Makes a symbolic link that leads there.",
            example='"../usr/lib/os-release"',
            otherwise="there must be text, source or url",
            rivals=("text", "source", "url", "sha256", "mode"),
            check=values.check_link,
        ),
        KeyRule(
            name="mode",
            doc="The mode, octal digits in quotes; not with link.",
            example='"0755"',
            default="0644",
            check=values.check_mode,
        ),
        KeyRule(
            name="owner",
            doc="The user whom it belongs to.",
            example='"ada"',
            default="root",
            check=values.check_account,
        ),
        KeyRule(
            name="group",
            doc="The group that it belongs to.",
            example='"adm"',
            default="root",
            check=values.check_account,
        ),
    ),
)

SCRIPT = TableRule(
    name="script",
    doc="A program that changes the tree when all else is in place; it sees nothing of the"
    " building machine but its inputs.",
    row="name",
    keys=(
        *program_keys(
            called="What it is called in messages and in the lock.",
            name='"fonts"',
            text='"fc-cache --force"',
            source='"scripts/fonts"',
        ),
        KeyRule(
            name="inputs",
            kind=ValueKind.TEXTS,
            doc="Local files and folders that it finds in /run/atoll/inputs.",
            example='["fonts"]',
            check=values.check_source,
            local=bool,
        ),
        KeyRule(
            name="network",
            kind=ValueKind.SWITCH,
            doc="Whether it has this machine's network; what it fetches is then in no lock.",
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
            otherwise="as the packages say",
            rivals=tuple(other for other in docs if other != name),
            check=values.check_unit,
        )
        for name, doc in docs.items()
    )


UNITS = TableRule(
    name="units",
    doc="What systemd starts; a unit is in one list only.",
    keys=(
        *_unit_keys(
            "Units that start with the machine, or when they are wanted.",
            "Units that do not start by themselves.",
            "Units that cannot be started at all.",
            '["ssh.service"]',
        ),
        KeyRule(
            name="dropin",
            kind=ValueKind.MAP,
            doc="More settings for a unit, the text of a drop-in file.",
            example='{ "ssh.service" = "[Service]\\nMemoryMax=100M\\n" }',
            check=values.check_text,
            check_name=values.check_unit,
        ),
    ),
    tables=(
        TableRule(
            name="user",
            doc="The same for the systemd of every person who is logged in.",
            keys=_unit_keys(
                "Units that start when a person logs in.",
                "Units of people that do not start by themselves.",
                "Units of people that cannot be started at all.",
                '["gnome-keyring-daemon.socket"]',
            ),
        ),
    ),
)
