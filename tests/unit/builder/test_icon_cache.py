"""GTK's index of an icon theme: read, and written in one form."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from atoll.builder.finish.icon_cache import (
    Icon,
    IconCache,
    format_icon_cache,
    hash_name,
    limit_icons,
    parse_icon_cache,
    parse_theme_directories,
)
from atoll.builder.finish.normalize import rewrite_icon_caches

if TYPE_CHECKING:
    from pathlib import Path

THEME = b"[Icon Theme]\nName=T\nDirectories=b/16, a/16/,\nScaledDirectories=a@2x/16\n"


def names() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=1, max_size=9).filter(lambda name: b"\0" not in name)


@st.composite
def caches(draw: st.DrawFn) -> IconCache:
    directories = tuple(draw(st.lists(names(), unique=True, min_size=1, max_size=5)))
    images = st.builds(
        lambda directory, flags, pixels: Icon(directory=directory, flags=flags, pixels=pixels),
        st.sampled_from(directories),
        st.integers(0, 15),
        st.binary(max_size=9),
    )
    icons = draw(st.dictionaries(names(), st.lists(images, max_size=4).map(tuple), max_size=9))
    return IconCache(directories=directories, icons=icons, buckets=draw(st.integers(1, 7)))


@given(caches())
def test_what_is_written_says_the_same(cache: IconCache) -> None:
    read = parse_icon_cache(format_icon_cache(cache))
    assert read is not None
    assert read.directories == tuple(sorted(cache.directories))
    assert read.icons == {name: tuple(sorted(images)) for name, images in cache.icons.items()}
    assert format_icon_cache(read) == format_icon_cache(cache)


@given(caches(), st.randoms())
def test_no_order_matters(cache: IconCache, chance: object) -> None:
    assert hasattr(chance, "shuffle")
    directories = list(cache.directories)
    icons = list(cache.icons.items())
    chance.shuffle(directories)
    chance.shuffle(icons)
    other = IconCache(
        directories=tuple(directories),
        icons={name: images[::-1] for name, images in icons},
        buckets=cache.buckets,
    )
    assert format_icon_cache(other) == format_icon_cache(cache)


@given(caches(), st.data())
def test_a_damaged_index_is_none(cache: IconCache, data: st.DataObject) -> None:
    whole = format_icon_cache(cache)
    parse_icon_cache(whole[: data.draw(st.integers(0, len(whole)))])
    broken = bytearray(whole)
    broken[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parse_icon_cache(bytes(broken))


def test_a_chain_that_leads_back_is_refused() -> None:
    cache = IconCache(directories=(b"a",), icons={b"x": ()}, buckets=1)
    data = bytearray(format_icon_cache(cache))
    (icon,) = struct.unpack_from(">I", data, 16)
    struct.pack_into(">I", data, icon, icon)
    assert parse_icon_cache(bytes(data)) is None


def test_the_hash_is_gtks() -> None:
    assert hash_name(b"a") == 97
    assert hash_name(b"ab") == 97 * 31 + 98
    assert hash_name(b"\xff") == 0xFFFFFFFF


def test_only_the_directories_that_the_theme_names_stay(tmp_path: Path) -> None:
    """Links that lead in circles make more of them, and how many depends on an order."""
    directories = parse_theme_directories(THEME)
    assert directories == {b"b/16", b"a/16", b"a@2x/16"}
    image = Icon(directory=b"a/16", flags=2)
    lost = Icon(directory=b"a/a/16", flags=2)
    cache = IconCache(
        directories=(b"a/a/16", b"b/16", b"a/16"),
        icons={b"both": (lost, image), b"lost": (lost,)},
        buckets=3,
    )
    kept = IconCache(directories=(b"b/16", b"a/16"), icons={b"both": (image,)}, buckets=3)
    assert limit_icons(cache, directories) == kept

    icons = tmp_path / "usr/share/icons"
    theme = icons / "theme"
    theme.mkdir(parents=True)
    (theme / "index.theme").write_bytes(THEME)
    (theme / "icon-theme.cache").write_bytes(format_icon_cache(cache))
    damaged = icons / "damaged"
    damaged.mkdir()
    (damaged / "index.theme").write_bytes(THEME)
    (damaged / "icon-theme.cache").write_bytes(b"damaged")
    rewrite_icon_caches(tmp_path)
    assert (theme / "icon-theme.cache").read_bytes() == format_icon_cache(kept)
    assert (damaged / "icon-theme.cache").read_bytes() == b"damaged"
