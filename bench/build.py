"""A build of a small recipe beside mmdebstrap alone with the same packages: time and ratio.

    python -m bench.build RECIPE [DIRECTORY]

Needs root and the package mirror. The first build starts with an empty cache, the second with one
that has everything, the third with other settings only.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from atoll.recipe.parse import read_recipe


def main() -> None:
    recipe = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as place:
        store = Path(place) / "store"
        alone = timed(mmdebstrap_words(recipe, Path(place) / "root"))
        first = timed(build_words(recipe, store))
        second = timed(build_words(recipe, store))
        for path in (store / "cache/results").iterdir():
            path.unlink()
        third = timed(build_words(recipe, store))
    print(f"mmdebstrap alone           {alone:7.1f} s")
    for name, seconds in (("cold", first), ("nothing changed", second), ("packages kept", third)):
        print(f"atoll build, {name:<14}{seconds:7.1f} s  {seconds / alone:5.2f} × mmdebstrap")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"peak memory of one process {peak:7} MB")


def timed(words: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def build_words(recipe: Path, store: Path) -> list[str]:
    return [sys.executable, "-m", "atoll.cli.main", "build", str(recipe), "--store", str(store)]


def mmdebstrap_words(path: Path, root: Path) -> list[str]:
    recipe = read_recipe(path)
    local = [os.fspath(recipe.resolve(name).resolve()) for name in recipe.packages.local]
    names = ",".join((*recipe.packages.install, *local))
    hook = "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount"
    return ["mmdebstrap", "--mode=root", "--variant=apt", hook, f"--include={names}",
            recipe.debian.suite, os.fspath(root)]  # fmt: skip


if __name__ == "__main__":
    main()
