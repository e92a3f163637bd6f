"""Merging passwd and its like: records and fields, and ids that never change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.machine.etc.keyed_files import find_id_conflicts, merge_keyed, take_image_records

ROOT = "root:x:0:0:root:/root:/bin/bash\n"
JOE = "joe:x:1000:1000::/home/joe:/bin/bash\n"
NTP = "ntp:x:101:101::/nonexistent:/usr/sbin/nologin\n"
SSH = "sshd:x:102:65534::/run/sshd:/usr/sbin/nologin\n"

CASES = {
    # name: file, old, live, new, merged
    "a user here, a system user in the image": (
        "passwd",
        ROOT + SSH,
        ROOT + SSH + JOE,
        ROOT + SSH + NTP,
        ROOT + SSH + NTP + JOE,
    ),
    "a system user gone from the image": (
        "passwd",
        ROOT + NTP,
        ROOT + NTP + JOE,
        ROOT,
        ROOT + JOE,
    ),
    "a system user removed here": (
        "passwd",
        ROOT + NTP,
        ROOT,
        ROOT + NTP + SSH,
        ROOT + SSH,
    ),
    "a shell here, a comment in the image": (
        "passwd",
        ROOT,
        ROOT.replace("bash", "zsh"),
        ROOT.replace(":root:/", ":Root:/"),
        ROOT.replace("bash", "zsh").replace(":root:/", ":Root:/"),
    ),
    "members": (
        "group",
        "sudo:x:27:\naudio:x:29:pulse\n",
        "sudo:x:27:joe\naudio:x:29:pulse,joe\n",
        "sudo:x:27:ann\naudio:x:29:pipe\n",
        "sudo:x:27:joe,ann\naudio:x:29:joe,pipe\n",
    ),
    "members in another order": (
        "group",
        "sudo:x:27:ann,bob\na:x:1:\n",
        "sudo:x:27:ann,bob\n",
        "sudo:x:27:bob,ann\na:x:1:\n",
        "sudo:x:27:bob,ann\n",
    ),
    "a member removed here": (
        "group",
        "sudo:x:27:ann\n",
        "sudo:x:27:\n",
        "sudo:x:27:ann,bob\n",
        "sudo:x:27:bob\n",
    ),
    "administrators too": (
        "gshadow",
        "sudo:*::\n",
        "sudo:*:joe:joe\n",
        "sudo:*:ann:\n",
        "sudo:*:joe,ann:joe\n",
    ),
    "the day of a password goes with it": (
        "shadow",
        "root:*:1:0:99999:7:::\n",
        "root:$y$:3:0:99999:7:::\n",
        "root:*:2:0:99999:7:::\nntp:!:2::::::\n",
        "root:$y$:3:0:99999:7:::\nntp:!:2::::::\n",
    ),
    "a system user removed here, built again in the image": (
        "shadow",
        "root:*:1::::::\nntp:!:1::::::\n",
        "root:$:5::::::\n",
        "root:*:2::::::\nntp:!:2::::::\n",
        "root:$:5::::::\n",
    ),
    "an account that the image adds without a password": (
        "shadow",
        "",
        "joe:$y$:3:0:99999:7:::\n",
        "joe:!:2:0:99999:7:::\n",
        "joe:$y$:3:0:99999:7:::\n",
    ),
    "ranges": (
        "subuid",
        "",
        "joe:100000:65536\njoe:300000:65536\n",
        "box:200000:65536\n",
        "box:200000:65536\njoe:100000:65536\njoe:300000:65536\n",
    ),
    "network users stay last": (
        "passwd",
        ROOT,
        ROOT + "+::::::\n",
        ROOT + NTP,
        ROOT + NTP + "+::::::\n",
    ),
    "without a base": ("passwd", "", ROOT + JOE, ROOT + NTP, ROOT + NTP + JOE),
    "names that share an id in the image": (
        "passwd",
        ROOT,
        ROOT + JOE,
        ROOT + "toor:x:0:0::/root:/bin/sh\n",
        ROOT + "toor:x:0:0::/root:/bin/sh\n" + JOE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_merges_cleanly(name: str) -> None:
    file, old, live, new, merged = CASES[name]
    merge = merge_keyed(file, old.encode(), live.encode(), new.encode())
    assert merge.content.decode() == merged
    assert merge.conflicts == ()


CONFLICTS = {
    # name: file, old, live, new, merged, conflict
    "an id in use here": (
        "passwd",
        ROOT,
        ROOT + "mine:x:101:1::/:/bin/sh\n",
        ROOT + NTP + SSH,
        ROOT + SSH + "mine:x:101:1::/:/bin/sh\n",
        "ntp: its id is taken by mine here",
    ),
    "a group's id in use here": (
        "group",
        "",
        "mine:x:101:\n",
        "ntp:x:101:\n",
        "mine:x:101:\n",
        "ntp: its id is taken by mine here",
    ),
    "a range in use here": (
        "subuid",
        "",
        "joe:100000:65536\n",
        "box:165535:65536\n",
        "joe:100000:65536\n",
        "box: its id is taken by joe:100000:65536 here",
    ),
    "the id of a name": (
        "passwd",
        ROOT + NTP,
        ROOT + NTP + JOE,
        ROOT + NTP.replace("x:101", "x:105"),
        ROOT + NTP + JOE,
        "ntp: id 101 here, 105 in the image",
    ),
    "a field": (
        "passwd",
        ROOT,
        ROOT.replace("bash", "zsh"),
        ROOT.replace("bash", "sh") + NTP,
        ROOT.replace("bash", "zsh") + NTP,
        "root: changed here and in the image",
    ),
    "changed here, gone from the image": (
        "passwd",
        ROOT + NTP,
        ROOT + NTP.replace("nologin", "sh"),
        ROOT,
        ROOT + NTP.replace("nologin", "sh"),
        "ntp: changed here, removed in the image",
    ),
    "gone here, changed in the image": (
        "passwd",
        ROOT + NTP,
        ROOT,
        ROOT + NTP.replace("nologin", "sh"),
        ROOT,
        "ntp: removed here, changed in the image",
    ),
    "records that are none": (
        "passwd",
        "odd:1\n",
        "odd:2\n",
        "odd:3\n" + NTP,
        NTP + "odd:2\n",
        "odd: changed here and in the image",
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_in_a_conflict_the_machines_record_stays_and_the_rest_is_merged(name: str) -> None:
    file, old, live, new, merged, conflict = CONFLICTS[name]
    merge = merge_keyed(file, old.encode(), live.encode(), new.encode())
    assert (sorted(merge.content.decode().split("\n"))) == sorted(merged.split("\n"))
    assert merge.conflicts == (conflict,)


def test_ids_that_an_image_cannot_have_here() -> None:
    live = ROOT + NTP + JOE + "mine:x:102:1::/:/bin/sh\n"
    new = ROOT + NTP.replace("x:101", "x:1000") + SSH
    found = find_id_conflicts("passwd", live.encode(), new.encode())
    assert [each.describe() for each in found] == [
        "ntp has id 101 here and 1000 in the image",
        "sshd has id 102 in the image, which belongs to mine here",
    ]
    assert find_id_conflicts("shadow", live.encode(), new.encode()) == ()
    assert find_id_conflicts("passwd", live.encode(), live.encode()) == ()


def test_adopting_takes_the_images_records_and_keeps_the_machines_own() -> None:
    live = ROOT.replace("bash", "zsh") + JOE
    merge = take_image_records("passwd", live.encode(), (ROOT + NTP).encode())
    assert merge.content.decode() == ROOT + NTP + JOE
    merge = take_image_records("group", b"sudo:x:27:joe\njoe:x:1000:\n", b"sudo:x:27:ann\n")
    assert merge.content == b"sudo:x:27:joe,ann\njoe:x:1000:\n"
    merge = take_image_records("passwd", NTP.encode(), NTP.replace("x:101", "x:105").encode())
    assert merge.content.decode() == NTP
    assert merge.conflicts


records = st.dictionaries(
    st.sampled_from(["root", "ntp", "joe", "ann"]),
    st.tuples(st.sampled_from("0123"), st.sampled_from(["/bin/sh", "/bin/zsh"])),
)


def passwd(names: dict[str, tuple[str, str]]) -> bytes:
    return "".join(
        f"{name}:x:{uid}:1::/:{shell}\n" for name, (uid, shell) in names.items()
    ).encode()


@given(records, records, records)
def test_whatever_the_three_are_every_record_is_whole_and_no_id_changes(
    old: dict[str, tuple[str, str]],
    live: dict[str, tuple[str, str]],
    new: dict[str, tuple[str, str]],
) -> None:
    merge = merge_keyed("passwd", passwd(old), passwd(live), passwd(new))
    names = [line.split(":") for line in merge.content.decode().splitlines()]
    assert len({words[0] for words in names}) == len(names)
    for words in names:
        side = live.get(words[0]) or new[words[0]]
        assert words[2] == side[0]
        assert words[6] in {each[words[0]][1] for each in (live, new) if words[0] in each}
    here = {words[0] for words in names}
    told = {conflict.split(":")[0] for conflict in merge.conflicts}
    for name in live:
        assert name in here or live[name] == old.get(name)
    for name in new.keys() - old.keys():
        assert name in here or name in told
    again = merge_keyed("passwd", passwd(new), merge.content, passwd(new))
    assert again.content == merge.content
