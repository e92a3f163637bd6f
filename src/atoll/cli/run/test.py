"""``atoll test``: what it does; ``cli/test.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.errors import Unhealthy, UsageError
from atoll.base.text import one_line
from atoll.cli import vm_setup
from atoll.vm.run_trial import TrialSettings, run_trial
from atoll.vm.trial import SKIPPED, TrialEnd, check_scripts, find_scripts

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from atoll.base.report import Reporter
    from atoll.vm.trial import ScriptResult, Trial

_SECONDS = {True: 600, False: 1800}
"""The default time limit in seconds, by whether KVM works."""


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    if arguments.timeout is not None and arguments.timeout <= 0:
        raise UsageError("--timeout must be a number of seconds above 0")
    reference = vm_setup.find_reference(arguments, arguments.image)
    recipe = vm_setup.find_recipe(arguments.image)
    scripts = tuple(arguments.script) or _scripts_of(recipe)
    check_scripts(scripts)
    with vm_setup.temporary_disk(reference, arguments, reporter, recipe=recipe) as (disk, tree):
        kvm = vm_setup.choose_kvm(reporter)
        setup = TrialSettings(
            kvm=kvm,
            memory=arguments.memory,
            cpus=vm_setup.choose_cpus(arguments.cpus, kvm=kvm),
            timeout=arguments.timeout or _SECONDS[kvm],
            network=arguments.network,
        )
        trial, console = run_trial(disk, scripts, setup, reporter)
    if arguments.json:
        print(json.dumps(_document(trial, console, reference, tree), indent=2))
    else:
        print(format_trial(trial, console))
    if not trial.passed:
        raise Unhealthy(f"{reference} did not pass: {_reason(trial)}")
    return 0


def _scripts_of(recipe: Path | None) -> tuple[Path, ...]:
    if recipe is None:
        return ()
    return find_scripts(recipe if recipe.is_dir() else recipe.parent)


def format_trial(trial: Trial, console: str) -> str:
    """The result as a table, then the output of everything that failed."""
    booted = "no" if trial.state is None else f"in {trial.seconds} s"
    names = ", ".join(unit.name for unit in trial.failed_units)
    rows = [("booted", booted)]
    if trial.state is not None:
        rows += [("system", trial.state), ("healthy", "yes" if trial.healthy else "no")]
        rows += [("failed units", names or "none")]
    rows += [(script.name, _verdict(script)) for script in trial.scripts]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    for unit in trial.failed_units:
        lines += ["", f"{unit.name}:", *_quoted(unit.log)]
    for script in trial.scripts:
        if not script.passed and script.status is not None:
            lines += ["", f"{script.name}:", *_quoted(script.output)]
    if trial.ending is not TrialEnd.FINISHED:
        lines += ["", f"the machine: {trial.ending}; end of the console:", *_quoted(console)]
    return "\n".join(one_line(line) for line in lines)


def _verdict(script: ScriptResult) -> str:
    match script.status:
        case None:
            return "did not finish"
        case 0:
            return f"ok, {script.seconds} s"
        case status if status == SKIPPED:
            return "skipped"
        case status:
            return f"failed with status {status}, {script.seconds} s"


def _quoted(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()] or ["    (no output)"]


def _reason(trial: Trial) -> str:
    failed = [script.name for script in trial.scripts if not script.passed]
    if trial.ending is not TrialEnd.FINISHED:
        return str(trial.ending)
    if trial.state != "running":
        return f"the system is {trial.state}"
    if not trial.healthy:
        return "the boot is not healthy"
    return f"{', '.join(failed)} failed"


def _document(trial: Trial, console: str, reference: str, tree: str) -> dict[str, object]:
    return {
        "image": reference,
        "tree": tree,
        "passed": trial.passed,
        "ending": trial.ending.name.lower(),
        "state": trial.state,
        "seconds": trial.seconds,
        "healthy": trial.healthy,
        "failed_units": [{"name": unit.name, "log": unit.log} for unit in trial.failed_units],
        "scripts": [
            {
                "name": script.name,
                "passed": script.passed,
                "status": script.status,
                "seconds": script.seconds,
                "output": script.output,
            }
            for script in trial.scripts
        ],
        "console": console.splitlines(),
    }
