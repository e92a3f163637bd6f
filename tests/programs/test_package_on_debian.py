"""Atoll's packages on ordinary computers: how these boot, build modules and install packages stays.

Real dpkg and apt of Debian 12 and 13, on computers that are thrown away.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.packages import copy_packages
from tests.programs.hosts import SUITES, Host, host_of
from tests.programs.test_package import NEEDED

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.root,
    pytest.mark.network,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]

STATE = """
find /boot /efi /etc /usr/lib/modules /usr/lib/dracut /usr/lib/systemd /usr/lib/atoll /usr/sbin \
    /usr/local /usr/share/initramfs-tools /var/lib/initramfs-tools /var/lib/dkms /var/lib/systemd \
    \\( -path /usr/lib/modules/*/kernel -o -path /etc/resolv.conf \\) -prune -o \
    -printf '%p %y %m %u %g %l\\n' -type f -exec sha256sum {} + 2>/dev/null | sort
dpkg-query --show --showformat='${Package} ${Version} ${db:Status-Abbrev}\\n' | grep -v '^atoll'
"""
SOUND = """
dpkg --audit
test -z "$(dpkg --audit)"
dpkg --configure -a
apt-get check
! dpkg-query --show --showformat='${db:Status-Abbrev}\\n' | grep -v '^[ir][ic] $' | grep .
dpkg --version >/dev/null
"""
INSTALL = "apt-get install --yes --no-install-recommends --allow-downgrades"
OLD_FILES = {
    "etc/dpkg/dpkg.cfg.d/atoll": "pre-invoke=/usr/lib/atoll/refuse-packages\n",
    "etc/dkms/framework.conf.d/50-atoll.conf": "exit 0\n",
    "usr/lib/atoll/refuse-packages": "#!/bin/sh\nexit 0\n",
    "usr/lib/atoll/make-initrd": "#!/bin/sh\n",
    "usr/lib/dracut/dracut.conf.d/50-atoll.conf": 'dracutmodules=" atoll "\n',
    "usr/lib/systemd/system/atoll-bless.service": "[Unit]\n",
    "usr/sbin/apt-get": '#!/bin/sh\nexec /usr/bin/apt-get "$@"\n',
    "usr/bin/atoll": "#!/bin/sh\n",
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_packages(tmp_path_factory.mktemp("packages"))
    write_old(folder)
    return folder


def write_old(folder: Path) -> None:
    """A stand-in for 0.1.0, which had everything in one package; without dracut, its dependency."""
    content = folder / "content"
    control = content / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        "Package: atoll\nVersion: 0.1.0\nArchitecture: all\nMaintainer: T <t@example.org>\n"
        "Description: for tests\n"
    )
    names = [name for name in OLD_FILES if name.startswith("etc/")]
    (control / "conffiles").write_text("".join(f"/{name}\n" for name in names))
    for name, text in OLD_FILES.items():
        (content / name).parent.mkdir(parents=True, exist_ok=True)
        (content / name).write_text(text)
        (content / name).chmod(0o755 if text.startswith("#!") else 0o644)
    words = ["dpkg-deb", "--root-owner-group", "--build", str(content), str(folder / "old.deb")]
    subprocess.run(words, check=True, capture_output=True)
    shutil.rmtree(content)


@pytest.fixture(params=SUITES)
def host(request: pytest.FixtureRequest, tmp_path: Path, packages: Path) -> Host:
    found = host_of(request.param, tmp_path / "host")
    shutil.copytree(packages, found.files / "debs")
    found.shell("apt-get update")
    return found


def expect_as_before(host: Host, before: str, *, after: str) -> None:
    now = host.shell(STATE)
    differing = set(now.splitlines()) ^ set(before.splitlines())
    assert not differing, (after, sorted(differing))
    host.shell(SOUND)


def test_the_tool_changes_nothing_about_the_computer(host: Host) -> None:
    assert host.attempt("ischroot").returncode == 1, "it must look like a whole computer"
    before = host.shell(STATE)
    assert "initrd.img-" in before
    for verb in (
        f"{INSTALL} /debs/atoll.deb",
        f"{INSTALL} --reinstall /debs/atoll.deb",
        "apt-get remove --yes atoll",
        f"{INSTALL} /debs/atoll.deb",
        "dpkg --purge atoll",
    ):
        host.shell(verb)
        expect_as_before(host, before, after=verb)
    host.shell(f"{INSTALL} /debs/atoll.deb && atoll --version")


def test_what_systems_carry_is_refused_and_leaves_nothing(host: Host) -> None:
    before = host.shell(STATE)
    for verb in (
        f"{INSTALL} /debs/atoll.deb /debs/atoll-system.deb",
        f"{INSTALL} /debs/atoll-system.deb",
        "apt-get install --yes /debs/atoll-system.deb",
        "dpkg --install /debs/atoll-system.deb",
    ):
        done = host.attempt("sh", "-euc", verb)
        assert done.returncode != 0
        said = done.stdout + done.stderr
        assert "only for systems that Atoll builds" in said
        assert "apt install atoll" in said
        expect_as_before(host, before, after=verb)
        assert "atoll-system" not in host.shell("dpkg-query --show | cut -f 1")


def test_upgrading_the_old_single_package_takes_its_hooks_along(host: Host) -> None:
    """It left a hook of dpkg's whose program was gone: every later call failed."""
    before = host.shell(STATE)
    host.shell("dpkg --install /debs/old.deb")
    assert host.shell(STATE) != before
    host.shell(f"{INSTALL} /debs/atoll.deb")
    expect_as_before(host, before, after="the upgrade")
    host.shell("dpkg --purge atoll && dpkg --install /debs/old.deb && apt-get install --yes zstd")
    host.shell(f"dpkg --unpack /debs/atoll.deb; dpkg --configure -a; {INSTALL} zstd")
    expect_as_before(host, before, after="an upgrade by dpkg in two steps")


def test_in_a_build_it_comes_and_goes_without_harm(host: Host) -> None:
    """What is left of it after a removal must not stop dpkg or DKMS."""
    sandbox = "mkdir -p /run/atoll/archive/debs; "
    host.shell(f"{INSTALL} /debs/atoll.deb")
    before = host.shell(STATE)
    install = f"{INSTALL} /debs/atoll-system.deb"
    host.shell(sandbox + install)
    assert host.shell(STATE) != before
    host.shell(sandbox + install + f"; {install} --reinstall")
    host.shell("apt-get remove --yes atoll-system")
    host.shell(SOUND)
    host.shell(f"{INSTALL} --reinstall zstd")
    host.shell(
        '. /etc/dkms/framework.conf.d/50-atoll-system.conf; test -z "${sign_file:-}"; echo on'
    )
    host.shell(sandbox + install)
    host.shell("apt-get purge --yes atoll-system")
    expect_as_before(host, before, after="a purge")
