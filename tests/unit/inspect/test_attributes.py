"""The facets by which two systems are compared."""

from __future__ import annotations

from atoll.inspect.attributes import argument_facet, group_facet, unit_facet, user_facet
from atoll.tree.model import Directory, Metadata, Node, Regular, Symlink

META = Metadata(mode=0o755)


def folder(**entries: Node) -> Directory:
    return Directory(
        META, {name.replace("__", ".").encode(): node for name, node in entries.items()}
    )


def unit() -> Regular:
    return Regular(META, 5, inline=b"[Unit")


def link(target: str) -> Symlink:
    return Symlink(META, target.encode())


def test_arguments_are_told_by_their_key() -> None:
    found = argument_facet(["quiet", "console=tty0", "a=b=c", "console=ttyS0"])
    assert found == {"quiet": "quiet", "console": "console=tty0 console=ttyS0", "a": "a=b=c"}


def test_accounts() -> None:
    passwd = "root:x:0:0:root:/root:/bin/bash\nopen::7:7::/:/bin/sh\nshort:x\n\nold:$y$:8:8:::\n"
    users = user_facet(passwd, "root:$y$secret:1::\n")
    assert users == {
        "root": "uid=0 gid=0 home=/root shell=/bin/bash password=set",
        "open": "uid=7 gid=7 home=/ shell=/bin/sh password=empty",
        "old": "uid=8 gid=8 home= shell= password=set",
    }
    assert "secret" not in str(users)
    assert user_facet(passwd, None)["root"].endswith("password=locked")
    assert user_facet(passwd, "root:!:")["root"].endswith("password=locked")
    assert group_facet("sudo:x:27:b,a\nnone:x:5:\n") == {
        "sudo": "gid=27 members=a,b",
        "none": "gid=5 members=",
    }


def test_units() -> None:
    etc = folder(
        multi_user__target__wants=Directory(META, {}),
        gone__service=link("/dev/null"),
        sshd__service=link("/usr/lib/systemd/system/ssh.service"),
        empty__timer=Regular(META, 0),
        default__target=link("/usr/lib/systemd/system/graphical.target"),
    )
    assert isinstance(etc.entries, dict)
    etc.entries[b"multi-user.target.wants"] = folder(
        cron__service=link("/usr/lib/systemd/system/cron.service"),
        gone__service=link("x"),
        file__service=unit(),
        **{"getty@tty1__service": link("x")},
    )
    vendor = folder(
        cron__service=unit(),
        gone__service=unit(),
        ssh__service=unit(),
        idle__socket=unit(),
        graphical__target=unit(),
        readme__txt=unit(),
        **{"getty@__service": unit()},
    )
    users = folder(pulse__service=unit())
    tree = folder(
        etc=folder(systemd=folder(system=etc)),
        usr=folder(lib=folder(systemd=folder(system=vendor, user=users))),
    )
    assert unit_facet(tree) == {
        "cron.service": "enabled",
        "gone.service": "masked",
        "ssh.service": "enabled",
        "sshd.service": "alias of ssh.service",
        "idle.socket": "disabled",
        "empty.timer": "masked",
        "graphical.target": "disabled",
        "default.target": "alias of graphical.target",
        "getty@.service": "enabled",
        "getty@tty1.service": "enabled",
        "pulse.service (user)": "disabled",
    }
    assert unit_facet(folder(etc=unit())) == {}
