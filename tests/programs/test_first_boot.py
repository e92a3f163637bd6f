"""What a machine makes at boot beside its image, by the real scripts and programs in a root."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atoll.builder.finish.identities import drop_identities
from tests.programs.small_root import ensure_small_root, laid_over

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.network]

SCRIPTS = Path(__file__).parents[2] / "system/usr/lib/atoll"


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A machine: /etc as its image has it is where early boot shows it."""
    with laid_over(ensure_small_root(), tmp_path / "overlay") as root:
        shutil.copytree(root / "etc", root / "run/atoll/tree-etc", symlinks=True)
        for name in ("make-identities", "refresh-caches"):
            shutil.copy(SCRIPTS / name, root / "root" / name)
        yield root


def inside(root: Path, script: str) -> str:
    words = ["chroot", str(root), "sh", "-euc", script]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def test_a_library_in_usr_local_is_found_with_each_new_image(root: Path) -> None:
    before = (root / "etc/ld.so.cache").read_bytes()
    inside(root, "/root/refresh-caches")
    assert (root / "etc/ld.so.cache").read_bytes() == before
    inside(root, "mkdir -p /usr/local/lib; cp /usr/lib/*/libz.so.1 /usr/local/lib/libz.so.1")
    inside(root, "/root/refresh-caches")
    assert "/usr/local/lib/libz.so.1" in inside(root, "ldconfig -p")
    # an upgrade brings the image's
    (root / "etc/ld.so.cache").write_bytes(before)
    inside(root, "/root/refresh-caches")
    made = (root / "etc/ld.so.cache").stat().st_mtime_ns
    assert "/usr/local/lib/libz.so.1" in inside(root, "ldconfig -p")
    inside(root, "/root/refresh-caches")
    assert (root / "etc/ld.so.cache").stat().st_mtime_ns == made


def test_links_of_captured_layers_go_with_them(root: Path) -> None:
    """Other links in /usr/local stay, also those that lead nowhere."""
    inside(
        root,
        "mkdir -p /usr/lib/captured/here; echo > /usr/lib/captured/here/tool; cd /usr/local/bin;"
        " ln -s /usr/lib/captured/here/tool here; ln -s /usr/lib/captured/gone/tool gone;"
        " ln -s /nowhere mine",
    )
    inside(root, "/root/refresh-caches")
    assert inside(root, "ls /usr/local/bin").split() == ["here", "mine"]


def test_a_certificate_authority_of_the_machine_is_trusted_with_each_new_image(root: Path) -> None:
    """update-ca-certificates itself is not in this root: what runs it is looked at."""
    (root / "usr/sbin/update-ca-certificates").write_text(
        "#!/bin/sh\ncd /etc/ssl/certs\n"
        "cat /usr/local/share/ca-certificates/* >> ca-certificates.crt\n"
    )
    (root / "usr/sbin/update-ca-certificates").chmod(0o755)
    for place in ("etc", "run/atoll/tree-etc"):
        (root / place / "ssl/certs").mkdir(parents=True, exist_ok=True)
        (root / place / "ssl/certs/ca-certificates.crt").write_text("image\n")
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    inside(root, "/root/refresh-caches")
    assert bundle.read_text() == "image\n"
    inside(root, "mkdir -p /usr/local/share/ca-certificates")
    (root / "usr/local/share/ca-certificates/company.crt").write_text("company\n")
    for _ in range(2):
        inside(root, "/root/refresh-caches")
        assert bundle.read_text() == "image\ncompany\n"


def test_identities_are_made_once_and_stay(root: Path) -> None:
    (root / "usr/sbin/nvme").write_text("#!/bin/sh\n")
    (root / "usr/sbin/nvme").chmod(0o755)
    (root / "etc/nvme").mkdir()
    for name in ("hostid", "hostnqn"):
        (root / "etc/nvme" / name).write_text("image\n")
    old = (root / "etc/ssh/ssh_host_ed25519_key").read_bytes()
    drop_identities(root)
    # a cut left an empty key, and half a file under another name
    (root / "etc/ssh/ssh_host_ed25519_key").write_text("")
    (root / "etc/nvme/hostnqn.new").write_text("nq")
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
    try:
        inside(root, "/root/make-identities")
        made = {
            path: path.read_bytes()
            for folder in ("etc/ssh", "etc/nvme")
            for path in sorted((root / folder).glob("*host*"))
        }
        inside(root, "/root/make-identities")
    finally:
        subprocess.run(["umount", root / "proc"], check=True)
    names = {path.name for path in made}
    assert {"ssh_host_ed25519_key", "ssh_host_rsa_key.pub", "hostid", "hostnqn"} <= names
    assert not any(name.endswith(".new") for name in names)
    assert made[root / "etc/ssh/ssh_host_ed25519_key"] != old
    host = made[root / "etc/nvme/hostid"].decode().strip()
    assert made[root / "etc/nvme/hostnqn"].decode() == f"nqn.2014-08.org.nvmexpress:uuid:{host}\n"
    assert all(path.read_bytes() == content for path, content in made.items())


def test_a_link_to_what_is_mounted_later_stays(root: Path) -> None:
    """A person keeps keys on another disk, which is not there yet so early."""
    for name in ("iscsi-iname", "make-ssl-cert"):
        (root / "usr/sbin" / name).write_text("#!/bin/sh\nrm -f /etc/ssl/private/*; echo made\n")
        (root / "usr/sbin" / name).chmod(0o755)
    for name in ("ssh", "iscsi", "ssl/private"):
        (root / "etc" / name).mkdir(parents=True, exist_ok=True)
    names = (
        "ssh/ssh_host_ed25519_key",
        "iscsi/initiatorname.iscsi",
        "ssl/private/ssl-cert-snakeoil.key",
    )
    links = [root / "etc" / name for name in names]
    for link in links:
        link.unlink(missing_ok=True)
        link.symlink_to(f"/srv/keys/{link.name}")
    inside(root, "/root/make-identities")
    assert [str(link.readlink()) for link in links] == [f"/srv/keys/{link.name}" for link in links]


INITDB = """#!/bin/sh
while [ "$1" != --pgdata ]; do shift; done
mkdir -p "$2/global" && echo new > "$2/global/pg_control"
"""


@pytest.mark.parametrize("there", ["nothing", "empty", "damaged", "file", "link"])
def test_a_cluster_is_made_only_where_no_data_is(root: Path, there: str) -> None:
    """What is there is somebody's, also when its control file is gone."""
    (root / "usr/lib/postgresql/17/bin").mkdir(parents=True)
    (root / "usr/lib/postgresql/17/bin/initdb").write_text(INITDB)
    (root / "usr/lib/postgresql/17/bin/initdb").chmod(0o755)
    settings = root / "etc/postgresql/17/main"
    settings.mkdir(parents=True)
    data = root / "var/lib/postgresql/17/main"
    (settings / "postgresql.conf").write_text(
        "data_directory = '/var/lib/postgresql/17/main'\nlc_messages = 'C.UTF-8'\n"
    )
    for file, line in (
        ("passwd", "postgres:x:114:114::/:/bin/sh\n"),
        ("group", "postgres:x:114:\n"),
    ):
        with (root / "etc" / file).open("a") as accounts:
            accounts.write(line)
    data.parent.mkdir(parents=True)
    match there:
        case "empty":
            data.mkdir()
        case "damaged":
            (data / "base").mkdir(parents=True)
            (data / "base/1").write_text("rows")
        case "file":
            data.write_text("notes")
        case "link":
            data.symlink_to("/elsewhere")
    before = data.lstat() if there not in ("nothing", "empty") else None
    for _ in range(2):
        inside(root, "/root/make-identities")
    if before is None:
        assert (data / "global/pg_control").read_text() == "new\n"
    else:
        assert data.lstat() == before or (data / "base/1").read_text() == "rows"
        assert not (data / "global").exists()
    assert not list(data.parent.glob("*.atoll-new"))
