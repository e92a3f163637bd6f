"""Build a recipe, compared with mmdebstrap alone with the same packages: time, ratio and memory.

    python -m bench.build RECIPE [DIRECTORY]

Needs root and the package mirror. The first build starts with an empty cache, the others with a
full one: nothing changed, the last line of the recipe changed, a small package added. Memory is the
peak of the build's own process, without the programs that it starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from atoll.recipe.language.parse import read_recipe

LAST = '\n[[file]]\npath = "/etc/bench"\ntext = "{}\\n"\n'
PACKAGE = "htop"
_MEASURED = """
import resource, sys
from atoll.cli.main import main
status = main()
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """``peak`` is resident memory in MiB, None for other programs."""

    name: str
    seconds: float
    peak: int | None = None


def main() -> None:
    recipe = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as directory:
        alone = timed("mmdebstrap alone", mmdebstrap_command(recipe, Path(directory) / "root"))
        runs = [alone, *builds(recipe, Path(directory) / "store")]
    for run in runs:
        peak = "" if run.peak is None else f"{run.peak:6} MB"
        ratio = f"{run.seconds / alone.seconds:5.2f} × mmdebstrap"
        print(f"{run.name:<24}{run.seconds:7.1f} s  {ratio}{peak}")


def builds(recipe: Path, store: Path) -> list[Run]:
    """Build changed copies of the recipe, in its directory, as its file names are relative."""
    text = recipe.read_text()
    changed = Path(tempfile.mkstemp(prefix=".bench-", suffix=".toml", dir=recipe.parent)[1])
    changed_install = text.replace("install = [", f'install = ["{PACKAGE}", ', 1)
    runs = []
    try:
        for name, content in (
            ("atoll build, cold", text + LAST.format(1)),
            ("nothing changed", text + LAST.format(1)),
            ("last line changed", text + LAST.format(2)),
        ):
            changed.write_text(content)
            runs.append(timed(name, command("build", changed, store)))
        changed.write_text(changed_install + LAST.format(2))
        runs.append(timed(f"{PACKAGE} locked", command("lock", changed, store)))
        runs.append(timed(f"{PACKAGE} added", command("build", changed, store)))
    finally:
        for path in recipe.parent.glob(f"{changed.stem}*"):
            path.unlink()
    return runs


def timed(name: str, argv: list[str]) -> Run:
    start = time.monotonic()
    done = subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    seconds = time.monotonic() - start
    last = done.stderr.decode(errors="replace").split()[-2:]
    return Run(
        name=name, seconds=seconds, peak=int(last[1]) // 1024 if last[:1] == ["peak"] else None
    )


def command(verb: str, recipe: Path, store: Path) -> list[str]:
    return [sys.executable, "-c", _MEASURED, verb, str(recipe), "--store", str(store)]


def mmdebstrap_command(path: Path, root: Path) -> list[str]:
    recipe = read_recipe(path)
    local = [os.fspath(recipe.resolve(name).resolve()) for name in recipe.packages.local]
    names = ",".join((*recipe.packages.install, *local))
    hook = "--hook-dir=/usr/share/mmdebstrap/hooks/file-mirror-automount"
    return [
        "mmdebstrap",
        "--mode=root",
        "--variant=apt",
        hook,
        f"--include={names}",
        str(recipe.debian.suite),
        os.fspath(root),
    ]


if __name__ == "__main__":
    main()
