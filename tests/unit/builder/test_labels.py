"""What an image says of itself to other people's tools."""

from __future__ import annotations

from dataclasses import replace

from atoll.base.ids import TreeId
from atoll.builder.publish import plan_labels
from atoll.lock.model import LockedBase
from atoll.recipe.model import Debian, DebianBase, Image, Packages, Recipe

OCI = "org.opencontainers.image"
SOURCE = (f"{OCI}.source", "https://git.example/hello")
RECIPE = Recipe(
    file="atoll.toml",
    text="",
    base=DebianBase(suite="trixie"),
    image=Image(name="small", version="1", description="Small.", labels=(SOURCE,)),
    debian=Debian(suite="trixie"),
    packages=Packages(),
)
MANIFEST = "sha256:" + "a" * 64


def test_labels_and_description_of_the_recipe_are_published() -> None:
    assert plan_labels(RECIPE, None) == ((f"{OCI}.description", "Small."), SOURCE)
    quiet = replace(RECIPE, image=Image(name="small", version="1"))
    assert plan_labels(quiet, None) == ()


def test_a_derived_image_names_its_base() -> None:
    base = LockedBase(
        reference="docker://registry.example/team/desktop:stable",
        manifest=MANIFEST,
        tree=TreeId("b" * 64),
    )
    labels = dict(plan_labels(RECIPE, base))
    assert labels[f"{OCI}.base.name"] == "registry.example/team/desktop:stable"
    assert labels[f"{OCI}.base.digest"] == MANIFEST


def test_what_is_no_image_elsewhere_is_not_named() -> None:
    """A folder of this computer means nothing to anybody else."""
    tree = TreeId("b" * 64)
    layout = LockedBase(reference="oci:/home/ann/base:1", manifest=MANIFEST, tree=tree)
    assert f"{OCI}.base.name" not in dict(plan_labels(RECIPE, layout))
    kept = LockedBase(reference="store:base", manifest="", tree=tree)
    assert plan_labels(RECIPE, kept) == plan_labels(RECIPE, None)
