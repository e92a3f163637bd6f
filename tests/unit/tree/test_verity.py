"""fs-verity digests: known results of the fsverity program; pieces give the same as the whole."""

from __future__ import annotations

import gzip
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.tree.verity import (
    BLOCK_SIZE,
    VerityHasher,
    merkle_tree,
    verity_digest,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "composefs"

KNOWN = {  # size of a file of the letter "a": what `fsverity digest` says
    0: "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95",
    1: "bce75948b9e7510293f8f2720412af9697c1479281323f3f220623fb8e94b557",
    4096: "a2a808ddaced77f0b6b3068f47b14b5a1fb3fc43674993ab11b8e7e6f2d089e2",
    4097: "18b155c0b6e054f3f7d22488ed15340e74dc161ce2d123e13eb685c3ce565f70",
    524288: "35ce0df2a57eb54aeba7969570bac9dfadfac295ec181a03f13ac7a7da54909e",
    524289: "cc4f297494cf9e0b6f159db6d30a62d3fcc219fc9c0cbc2d8792bd264da4d9cb",
    67108865: "4941c3476d3858778456d8719299de3d84d4541237c259b3ed4bcc96ed0fd828",
}


@pytest.mark.parametrize("size", KNOWN)
def test_digest_is_that_of_the_fsverity_program(size: int) -> None:
    assert verity_digest(b"a" * size) == KNOWN[size]


def test_image_digest_is_the_one_mkcomposefs_printed() -> None:
    image = gzip.decompress((GOLDEN / "02-kinds.v11.cfs.gz").read_bytes())
    assert verity_digest(image) in (GOLDEN / "02-kinds.expected").read_text()


@given(st.data())
def test_pieces_give_the_digest_of_the_whole(data: st.DataObject) -> None:
    content = data.draw(st.binary(max_size=64)) * data.draw(st.integers(0, 400))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    hasher = VerityHasher()
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        hasher.update(memoryview(content)[start:end])
    assert hasher.size == len(content)
    assert hasher.digest() == verity_digest(content)


def test_merkle_tree_is_root_level_first_and_its_root_is_in_the_descriptor() -> None:
    content = bytes(range(256)) * 16 * 129
    tree, descriptor = merkle_tree(content)
    root_level, leaves = tree[:BLOCK_SIZE], tree[BLOCK_SIZE:]
    assert len(leaves) == 2 * BLOCK_SIZE
    assert leaves[:32] == sha256(content[:BLOCK_SIZE]).digest()
    assert root_level[32:64] == sha256(leaves[BLOCK_SIZE:]).digest()
    assert len(descriptor) == 256
    assert descriptor[16:48] == sha256(root_level).digest()
    assert sha256(descriptor).hexdigest() == verity_digest(content)


def test_content_of_one_block_needs_no_tree() -> None:
    assert merkle_tree(b"x")[0] == b""
    assert merkle_tree(b"")[0] == b""
