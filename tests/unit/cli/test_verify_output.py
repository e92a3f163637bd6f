"""What is said of a build that was made twice."""

from __future__ import annotations

import json

from atoll.base.ids import BlobDigest, TreeId
from atoll.builder.explain_diff import PathDifference
from atoll.builder.verify import BuildResult, Verification
from atoll.cli.output.verify import SHOWN, format_verification, verification_as_json


def result(digit: str) -> BuildResult:
    blob = BlobDigest(f"sha256:{digit * 64}")
    return BuildResult(tree=TreeId(digit * 64), manifest=blob, layers=(blob,))


def found(second: str, *differences: PathDifference) -> Verification:
    return Verification(
        first=result("1"),
        second=result(second),
        changed=("umask 077",),
        same=("the clock",),
        differences=differences,
    )


def test_equal_builds_are_identical() -> None:
    same = found("1")
    assert same.identical
    assert format_verification(same).splitlines() == [
        f"identical: tree {'1' * 64}",
        f"           1 layers, manifest sha256:{'1' * 64}",
        "varied in the second build: umask 077",
        "not varied: the clock",
    ]


def test_a_difference_is_told_with_its_path() -> None:
    one = PathDifference(
        path="/etc/\x1b", kind="changed", aspects=("mode",), details=("0644, 0600",)
    )
    text = format_verification(found("2", one))
    assert text.startswith("NOT identical\n")
    assert "\x1b" not in text
    assert "(mode)\n      0644, 0600" in text


def test_many_differences_are_counted() -> None:
    many = [
        PathDifference(path=f"/{n}", kind="added", aspects=(), details=()) for n in range(SHOWN + 5)
    ]
    assert "… and 5 more" in format_verification(found("2", *many))


def test_equal_trees_with_other_layers_are_not_identical() -> None:
    other = Verification(
        first=result("1"),
        second=BuildResult(tree=result("1").tree, manifest=result("2").manifest, layers=()),
        changed=(),
        same=(),
        differences=(),
    )
    assert not other.identical
    assert "the trees are identical; 1 layers or the manifest differ" in format_verification(other)


def test_json_has_it_all() -> None:
    one = PathDifference(path="/a", kind="changed", aspects=("mode",), details=("x",))
    told = json.loads(json.dumps(verification_as_json(found("2", one))))
    assert told["identical"] is False
    assert told["first"]["tree"] == "1" * 64
    assert told["second"]["layers"] == [f"sha256:{'2' * 64}"]
    assert told["differences"] == [
        {"path": "/a", "kind": "changed", "aspects": ["mode"], "details": ["x"]}
    ]
