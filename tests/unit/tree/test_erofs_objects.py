from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from atoll.base.ids import ObjectId
from atoll.tree.erofs_objects import blank_object_ids, fill_object_ids, find_objects
from atoll.tree.erofs_writer import format_image
from atoll.tree.model import Directory, Metadata, Regular, Symlink

PLAIN = Metadata(mode=0o644)
NAMES = [ObjectId(f"{number:064x}") for number in range(40)]


def image_of(*objects: ObjectId) -> bytes:
    entries = {
        f"file-{number:02}".encode(): Regular(PLAIN, 1000 + number, name)
        for number, name in enumerate(objects)
    }
    return format_image(Directory(Metadata(mode=0o755), entries))


def test_every_object_is_found_once_in_the_order_of_the_image() -> None:
    assert find_objects(image_of(*NAMES)) == tuple(NAMES)
    assert set(find_objects(image_of(*NAMES, *NAMES[5:9]))) == set(NAMES)
    assert find_objects(image_of()) == ()


def test_places_are_blank_on_the_way_and_there_again_afterwards() -> None:
    image = image_of(*NAMES, *NAMES[5:9])
    blank = blank_object_ids(image)
    assert len(blank) == len(image)
    assert len(find_objects(blank)) == 4, "those that inodes share stay"
    fill_object_ids(blank)
    assert blank == image


def test_what_looks_like_a_place_is_found_too() -> None:
    place = f"/{NAMES[7][:2]}/{NAMES[7][2:]}".encode()
    entries = {b"link": Symlink(PLAIN, b"x\x10\x04B\x00trusted" + place)}
    assert find_objects(format_image(Directory(PLAIN, entries))) == ()
    head = b"\x10\x04\x42\x00overlay.redirect"
    assert find_objects(b"any" + head + place) == (NAMES[7],)


@given(st.binary(max_size=300))
def test_any_bytes_can_be_filled(data: bytes) -> None:
    find_objects(data)
    filled = bytearray(data)
    fill_object_ids(filled)
    assert filled == data
    assert blank_object_ids(data) == data
