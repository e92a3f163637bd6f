"""Files that must be unique per machine, by the Debian package that creates them: a table.

Packages create them at installation, so in an image they would be the same on all machines. A
build removes them, ``/usr/lib/atoll/make-identities`` creates them on each machine at its first
boot, and no merge of ``/etc`` replaces them. docs/reference/identities.md has this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Unique files of a package.

    ``etc`` are patterns relative to /etc, as in rules for /etc; ``var`` are paths relative to /var.
    ``why`` says what goes wrong when two machines share them, ``made`` what creates them on a
    machine.
    """

    package: str
    etc: tuple[str, ...] = ()
    var: tuple[str, ...] = ()
    why: str
    made: str = "make-identities"


IDENTITIES = (
    Identity(
        package="openssh-server",
        etc=("ssh/ssh_host_*",),
        why="anyone who has the image can impersonate every server",
    ),
    Identity(
        package="dropbear",
        etc=("dropbear/dropbear_*_host_key", "dropbear/initramfs/dropbear_*_host_key"),
        why="anyone who has the image can impersonate every server",
    ),
    Identity(
        package="ssl-cert",
        etc=("ssl/private/ssl-cert-snakeoil.key", "ssl/certs/ssl-cert-snakeoil.pem"),
        why="anyone who has the image can read what is sent to every server",
    ),
    Identity(
        package="nvme-cli",
        etc=("nvme/hostnqn", "nvme/hostid"),
        why="storage mistakes two machines for one, and both write to the same namespace",
    ),
    Identity(
        package="open-iscsi",
        etc=("iscsi/initiatorname.iscsi",),
        why="storage mistakes two machines for one, and both write to the same disk",
    ),
    Identity(
        package="bind9",
        etc=("bind/rndc.key",),
        why="anyone who has the image can control every name server",
    ),
    Identity(
        package="munge",
        etc=("munge/munge.key",),
        why="anyone who has the image can act as any user of a cluster",
    ),
    Identity(
        package="xrdp",
        etc=("xrdp/rsakeys.ini",),
        why="anyone who has the image can read every session",
    ),
    Identity(
        package="unbound",
        etc=(
            "unbound/unbound_server.key",
            "unbound/unbound_server.pem",
            "unbound/unbound_control.key",
            "unbound/unbound_control.pem",
        ),
        why="anyone who has the image can control every name server",
    ),
    Identity(
        package="kea-ctrl-agent",
        etc=("kea/kea-api-password",),
        why="anyone who has the image can control every DHCP server",
    ),
    Identity(
        package="zfsutils-linux",
        etc=("hostid",),
        why="two machines may import the same pool at once",
    ),
    Identity(
        package="postgresql-common",
        var=("postgresql",),
        why="a replica or a backup mistakes two clusters for one, as both have the same system"
        " identifier",
    ),
    Identity(
        package="initramfs-tools",
        etc=("initramfs-tools/conf.d/resume",),
        why="it names the swap of the computer that built the image",
        made="nobody",
    ),
    Identity(
        package="multipath-tools",
        etc=("multipath/wwids", "multipath/bindings"),
        why="disks get the names of other machines' disks",
        made="multipathd",
    ),
    Identity(
        package="lvm2",
        etc=("lvm/devices/system.devices", "lvm/archive/*", "lvm/backup/*"),
        why="it names the disks of the computer that built the image",
        made="lvm",
    ),
    Identity(
        package="dhcpcd-base",
        etc=("dhcpcd.duid",),
        var=("lib/dhcpcd/duid", "lib/dhcpcd/secret"),
        why="two machines get the same address",
        made="dhcpcd",
    ),
    Identity(
        package="systemd",
        var=("lib/systemd/random-seed", "lib/systemd/credential.secret"),
        why="random numbers and encrypted credentials can be predicted",
        made="systemd",
    ),
    Identity(
        package="dbus",
        var=("lib/dbus/machine-id",),
        why="it is a copy of /etc/machine-id",
        made="tmpfiles.d",
    ),
    Identity(
        package="network-manager",
        var=("lib/NetworkManager/secret_key", "lib/NetworkManager/NetworkManager.state"),
        why="private addresses can be predicted",
        made="NetworkManager",
    ),
    Identity(
        package="samba",
        var=("lib/samba/private/secrets.tdb",),
        why="two machines have the same SID and the same password in a domain",
        made="smbd",
    ),
    Identity(
        package="rabbitmq-server",
        var=("lib/rabbitmq/.erlang.cookie",),
        why="anyone who has the image can run programs on every server",
        made="erlang",
    ),
    Identity(
        package="mysql-server",
        var=("lib/mysql/auto.cnf",),
        why="replication mistakes two servers for one",
        made="mysqld",
    ),
    Identity(
        package="fwupd",
        var=("lib/fwupd/pki/secret.key",),
        why="reports can be signed in the name of every machine",
        made="fwupd",
    ),
    Identity(
        package="cloud-init",
        var=("lib/cloud/data/instance-id",),
        why="the first boot of a machine looks like a later boot of another one",
        made="cloud-init",
    ),
)

LOCAL_IN_ETC = tuple(pattern for one in IDENTITIES for pattern in one.etc)
"""Patterns below /etc that no image replaces."""


KEY_SIZE = 65536
"""How many bytes at the start of a file are searched for a private key."""
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|^PuTTY-User-Key-File-|"
    rb"AGE-SECRET-KEY-(?:PQ-)?1|^[ \t]*Private-?Key\s*=\s*[\w+/]{43}=|"
    rb"^untrusted comment: (?:minisign encrypted |signify )secret key|"
    rb"^SSH PRIVATE KEY FILE FORMAT|^== ed25519v1-secret:|^Private-key-format: v1",
    re.MULTILINE | re.IGNORECASE,
)


def has_private_key(content: bytes) -> bool:
    """Whether ``content`` has a private key in a recognizable format in its first 64 KiB.

    The formats are PEM and OpenSSH, PGP, age, WireGuard, PuTTY, minisign, signify, Tor, DNSSEC.
    """
    return _KEY.search(content[:KEY_SIZE]) is not None


def find_identity(path: str) -> Identity | None:
    """The table's entry for the absolute ``path``; None if it is not a unique file."""
    folder, _, name = path.rpartition("/")
    for one in IDENTITIES:
        patterns = *(f"/etc/{each}" for each in one.etc), *(f"/var/{each}" for each in one.var)
        for parent, _, pattern in (each.rpartition("/") for each in patterns):
            if parent == folder and fnmatchcase(name, pattern):
                return one
    return None
