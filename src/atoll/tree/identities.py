"""What makes a machine that machine, of what Debian's packages create: a table.

Packages create these when they are installed. In an image they would be the same on all machines,
so a build removes them, ``/usr/lib/atoll/make-identities`` creates them on each machine at its
first boot, and no merge of ``/etc`` replaces them. docs/reference/identities.md has this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """``etc`` are patterns below /etc, as rules for /etc have them; ``var`` are files below /var.

    ``why``: what goes wrong when two machines share it; ``made``: by whom, on a machine.
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
"""What is always the machine's own below /etc."""


KEY_SIZE = 65536
"""Bytes of a file in which a key is looked for."""
_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|^PuTTY-User-Key-File-|"
    rb"AGE-SECRET-KEY-(?:PQ-)?1|^[ \t]*Private-?Key\s*=\s*[\w+/]{43}=|"
    rb"^untrusted comment: (?:minisign encrypted |signify )secret key|"
    rb"^SSH PRIVATE KEY FILE FORMAT|^== ed25519v1-secret:|^Private-key-format: v1",
    re.MULTILINE | re.IGNORECASE,
)


def has_private_key(content: bytes) -> bool:
    """Whether it is, or begins with, a private key of a kind that says so: PEM and OpenSSH, PGP,
    age, WireGuard, PuTTY, minisign, signify, Tor, DNSSEC."""
    return _KEY.search(content[:KEY_SIZE]) is not None


def find_identity(path: str) -> Identity | None:
    """Whose identity the absolute ``path`` is, if it is one."""
    folder, _, name = path.rpartition("/")
    for one in IDENTITIES:
        for pattern in _paths(one):
            above, _, names = pattern.rpartition("/")
            if above == folder and fnmatchcase(name, names):
                return one
    return None


def format_table() -> str:
    """The rows of the table in docs/reference/identities.md."""
    return "".join(
        f"| {', '.join(f'`{path}`' for path in _paths(one))} | {one.package} | {one.why} |"
        f" {one.made} |\n"
        for one in IDENTITIES
    )


def _paths(one: Identity) -> list[str]:
    return [*(f"/etc/{path}" for path in one.etc), *(f"/var/{path}" for path in one.var)]
