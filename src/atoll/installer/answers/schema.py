"""The answers file, schema 1, as data: every table and key there is.

``parse_answers``, docs/reference/answers.md and answers.schema.json read nothing else. Where a
recipe has the same key, name and rules are the same.
"""

from __future__ import annotations

from atoll.installer.answers import checks as answers
from atoll.machine.keyboard import MODEL
from atoll.recipe.language import check_paths as paths
from atoll.recipe.language import check_values as values
from atoll.recipe.language.schema_model import KeyRule, TableRule, ValueKind

SCHEMA = 1

TARGET = TableRule(
    name="target",
    doc="Where the system goes: exactly one of disk, partition and free_space. Without this table"
    " the command line says it.",
    keys=(
        KeyRule(
            name="disk",
            doc="A whole disk. Everything on it is erased.",
            example='"/dev/disk/by-id/nvme-EXAMPLE_1TB_0001"',
            default_text="partition or free_space is required",
            check=answers.check_device,
        ),
        KeyRule(
            name="partition",
            doc="One partition. Everything on it is erased, and nothing else.",
            example='"/dev/nvme0n1p3"',
            default_text="disk or free_space is required",
            check=answers.check_device,
        ),
        KeyRule(
            name="free_space",
            doc="A disk with unused space, which gets new partitions. Nothing is erased.",
            example='"/dev/nvme0n1"',
            default_text="disk or partition is required",
            check=answers.check_device,
        ),
        KeyRule(
            name="esp",
            doc="The EFI system partition to use, with partition and free_space.",
            example='"/dev/nvme0n1p1"',
            default_text="the one on the same disk",
            check=answers.check_device,
        ),
        KeyRule(
            name="home",
            doc="A partition that becomes /home. It is not formatted.",
            example='"/dev/sdb1"',
            default_text="/home is on the new system's partition",
            check=answers.check_device,
        ),
        KeyRule(
            name="erase",
            kind=ValueKind.BOOLEAN,
            doc="Agrees that everything on the disk or partition is erased.",
            example="true",
            default_text="an error with disk and partition",
        ),
    ),
)

ENCRYPTION = TableRule(
    name="encryption",
    doc="Encrypts the new system's partition (LUKS2). Without this table it is not encrypted.",
    keys=(
        KeyRule(
            name="passphrase_file",
            doc="A file whose first line is the passphrase; /dev/fd/N is an open descriptor.",
            example='"passphrase"',
            required=True,
            check=answers.check_file,
        ),
        KeyRule(
            name="recovery_key",
            kind=ValueKind.BOOLEAN,
            doc="Adds a recovery key, which is printed once on the standard output.",
            example="true",
            default=False,
        ),
    ),
)

USER = TableRule(
    name="user",
    doc="Your account. It may use sudo; root has no password.",
    keys=(
        KeyRule(
            name="name",
            doc="The name that you log in with.",
            example='"ada"',
            required=True,
            check=answers.check_person,
        ),
        KeyRule(
            name="password",
            doc="A hash as mkpasswd or openssl passwd -6 prints it (yescrypt or sha512crypt), never"
            " the password.",
            example='"$y$j9T$examplesalt$examplehash"',
            required=True,
            check=answers.check_hash,
        ),
        KeyRule(
            name="gecos",
            doc="Your full name.",
            example='"Ada Lovelace"',
            default="",
            default_text="empty",
            check=values.check_gecos,
        ),
        KeyRule(
            name="groups",
            kind=ValueKind.TEXTS,
            doc="Further groups of the account.",
            example='["sudo", "audio"]',
            default_text="sudo, and the groups that Debian's installer chooses, as far as the image"
            " has them",
            check=values.check_account,
        ),
        KeyRule(
            name="shell",
            doc="The login shell.",
            example='"/usr/bin/zsh"',
            default_text="/bin/bash",
            check=paths.check_absolute,
        ),
        KeyRule(
            name="uid",
            kind=ValueKind.NUMBER,
            doc="The user id, such as that of the files on a /home that you keep.",
            example="1000",
            default_text="the next free one",
            least=1000,
            most=59999,
        ),
        KeyRule(
            name="ssh_keys",
            kind=ValueKind.TEXTS,
            doc="Public ssh keys that may log in, each a line of a .pub file.",
            example='["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0XvYH3oN1FQmXYd7jQ3sJ0XvYH"]',
            check=values.check_ssh_key,
        ),
    ),
)

SYSTEM = TableRule(
    name="system",
    doc="Settings of the whole system.",
    keys=(
        KeyRule(
            name="hostname",
            doc="The machine's name, at most 64 characters.",
            example='"reef"',
            default_text="as in the image",
            check=values.check_hostname,
        ),
        KeyRule(
            name="locale",
            doc="The locale: language, and formats of dates and numbers. The image must have it.",
            example='"de_DE.UTF-8"',
            default_text="as in the image",
            check=values.check_locale,
        ),
        KeyRule(
            name="timezone",
            doc="The time zone. The image must have it.",
            example='"Europe/Berlin"',
            default_text="as in the image",
            check=values.check_timezone,
        ),
    ),
)

KEYBOARD = TableRule(
    name="keyboard",
    doc="The keyboard of the console and of graphical sessions. Without this table it stays as in"
    " the image.",
    keys=(
        KeyRule(
            name="layout",
            doc="XKB layout, or several with commas.",
            example='"de"',
            required=True,
            check=answers.check_layout,
        ),
        KeyRule(
            name="variant",
            doc="Variant of the layout, one for each where there are several.",
            example='"nodeadkeys"',
            default="",
            default_text="none",
            check=answers.check_xkb_list,
        ),
        KeyRule(
            name="model",
            doc="XKB model.",
            example='"pc105"',
            default=MODEL,
            check=answers.check_layout,
        ),
        KeyRule(
            name="options",
            doc="XKB options, with commas.",
            example='"ctrl:nocaps"',
            default="",
            default_text="none",
            check=answers.check_xkb_options,
        ),
    ),
)

NETWORK = TableRule(
    name="network",
    doc="How the machine reaches the network, beside what the image does by itself.",
    tables=(
        TableRule(
            name="wifi",
            doc="A Wi-Fi network. The image needs NetworkManager.",
            keys=(
                KeyRule(
                    name="ssid",
                    doc="Its name.",
                    example='"reef"',
                    required=True,
                    check=answers.check_ssid,
                ),
                KeyRule(
                    name="passphrase_file",
                    doc="A file whose first line is the passphrase (WPA2, WPA3); /dev/fd/N is an"
                    " open descriptor.",
                    example='"wifi-passphrase"',
                    default_text="the network is open",
                    check=answers.check_file,
                ),
            ),
        ),
        TableRule(
            name="address",
            doc="A fixed address of a wired interface. The image needs NetworkManager or"
            " systemd-networkd.",
            keys=(
                KeyRule(
                    name="interface",
                    doc="The interface.",
                    example='"enp3s0"',
                    required=True,
                    check=answers.check_interface,
                ),
                KeyRule(
                    name="address",
                    doc="The address with its prefix length.",
                    example='"192.0.2.7/24"',
                    required=True,
                    check=answers.check_address,
                ),
                KeyRule(
                    name="gateway",
                    doc="The router.",
                    example='"192.0.2.1"',
                    default_text="none",
                    check=answers.check_host_address,
                ),
                KeyRule(
                    name="dns",
                    kind=ValueKind.TEXTS,
                    doc="Name servers.",
                    example='["192.0.2.1"]',
                    check=answers.check_host_address,
                ),
            ),
        ),
    ),
)

TOP = TableRule(
    name="",
    doc="The answers of an unattended install.",
    keys=(
        KeyRule(
            name="schema",
            kind=ValueKind.NUMBER,
            doc=f"The version of this language; {SCHEMA} is the only one.",
            example=str(SCHEMA),
            required=True,
            least=SCHEMA,
            most=SCHEMA,
        ),
        KeyRule(
            name="image",
            doc="The image to install, as on the command line (docker://, oci:, oci-archive:,"
            " store:).",
            example='"docker://registry.example/desktop:stable"',
            default_text="IMAGE on the command line; on a live system, the one that runs",
            check=values.check_one_line,
        ),
        KeyRule(
            name="follow",
            doc="The image that upgrades take.",
            example='"docker://registry.example/desktop:stable"',
            default_text="image",
            check=values.check_one_line,
        ),
    ),
    tables=(TARGET, ENCRYPTION, USER, SYSTEM, KEYBOARD, NETWORK),
)

FOREIGN = {
    "password_hash": "password",
    "hashed_password": "password",
    "passwd": "password",
    "username": "name",
    "login": "name",
    "full_name": "gecos",
    "fullname": "gecos",
    "realname": "gecos",
    "authorized_keys": "ssh_keys",
    "ssh": "ssh_keys",
    "host_name": "hostname",
    "lang": "locale",
    "language": "locale",
    "tz": "timezone",
    "keymap": "[keyboard] layout",
    "kbd": "[keyboard]",
    "passphrase": "passphrase_file: a secret is never in the answers file itself",
    "psk": "passphrase_file: a secret is never in the answers file itself",
    "luks": "[encryption]",
    "encrypt": "[encryption]",
    "wifi": "[network.wifi]",
    "device": "disk",
    "reference": "image",
    "recovery": "recovery_key",
    "storage": "[target]",
    "root_password": "root has no password: the user may use sudo",
}
"""Words that people bring from elsewhere, and where the same is here."""
