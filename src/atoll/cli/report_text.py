"""A report on a machine as JSON and as Markdown; docs/reference/report.md describes both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atoll.base.text import escape, one_line
from atoll.cli.history import format_event
from atoll.cli.output.drift import format_drift
from atoll.cli.output.drift_json import drift_as_json
from atoll.cli.output.progress import format_moment
from atoll.cli.output.protection import format_protection, protection_as_json
from atoll.cli.run.health import as_document, format_report
from atoll.cli.status import as_json, format_state, warnings
from atoll.machine.report.parse_report import FORMAT, MARK
from atoll.machine.report.redact import Json, KnownNames, redact, redact_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from atoll.machine.report.model import MachineReport

KEPT = ("tree", "base", "base_tree", "image", "versions", "atoll", "kernel", "version")
"""Keys of the JSON whose values name published things, and look like addresses at times."""


def report_as_json(report: MachineReport, *, names: bool) -> Json:
    """With ``names``, names, addresses and serial numbers stay."""
    document = _document(report)
    known = report.known
    return document if names else redact_document(document, known, keep=KEPT)


def format_markdown(report: MachineReport, *, names: bool) -> str:
    """Ready to be pasted into an issue of GitHub, GitLab or Debian's bug tracker."""
    hide = _plain if names else _hider(report.known)
    lines = ["# Report of an Atoll system", "", *_system_rows(report, hide)]
    for heading, block in _blocks(report):
        rows = [hide(escape(line)) for line in block]
        if rows:
            lines += ["", f"## {heading}", "", *_fenced(rows)]
    about = json.dumps({MARK: FORMAT, **_about(report)}, ensure_ascii=False, indent=1)
    lines += ["", "## For `atoll vm --report`", "", "```json", escape(about), "```"]
    return "\n".join(lines)


def _plain(text: str) -> str:
    return text


def _hider(known: KnownNames) -> Callable[[str], str]:
    return lambda text: redact(text, known)


def _fenced(rows: Iterable[str]) -> list[str]:
    """In a fence that no line of ``rows`` can end."""
    found = list(rows)
    fence = "```"
    while any(fence in row for row in found):
        fence += "`"
    return [f"{fence}text", *found, fence]


def _system_rows(report: MachineReport, hide: Callable[[str], str]) -> Iterator[str]:
    system = report.system
    yield "| | |"
    yield "|---|---|"
    rows = {
        "system": f"{system.name} {system.version}, deployment {system.number}",
        "image": system.image,
        "tree": system.tree,
        "derived from": system.base and f"{system.base}, tree {system.base_tree}",
        "kernel": f"{system.kernel} {system.architecture}",
        "Atoll": report.atoll,
    }
    for name, value in rows.items():
        if value.strip():
            cell = one_line(value).replace("|", "\\|").replace("`", "'")
            yield f"| {name} | `{cell}` |"
    if report.command_line:
        line = hide(one_line(report.command_line)).replace("|", "\\|").replace("`", "'")
        yield f"| command line | `{line}` |"


def _blocks(report: MachineReport) -> Iterator[tuple[str, Iterable[str]]]:
    yield "Deployments", (*format_state(report.state).splitlines(), *warnings(report.state))
    if report.protection is not None:
        yield "Protection", format_protection(report.protection).splitlines()
    if report.drift is not None:
        yield "Drift", format_drift(report.drift).splitlines()
    if report.system.machine_file is not None:
        text = json.dumps(report.system.machine_file, ensure_ascii=False, indent=1)
        yield "Machine file", text.splitlines()
    if report.failed_units is not None:
        yield "Failed units", report.failed_units or ("none",)
    if report.health is not None:
        yield "Health", format_report(report.health).splitlines()
    yield "Messages of early boot", report.notes
    failed = report.failed_boot
    if failed is not None:
        head = f"deployment {failed.deployment}, boot attempt {failed.number}: {failed.why}"
        yield "The last failed boot", (head, *failed.messages)
    yield "History, newest first", map(format_event, reversed(report.history))
    yield "Versions", (f"{name} {version}" for name, version in report.versions)
    yield "Not read", (f"{each.what}: {each.why}" for each in report.unread)


def _about(report: MachineReport) -> dict[str, Any]:
    """What is needed to boot the same system elsewhere."""
    system = report.system
    return {
        "image": system.image,
        "tree": system.tree,
        "name": system.name,
        "version": system.version,
        "base": system.base or None,
        "base_tree": system.base_tree or None,
        "layered": system.machine_file is not None,
    }


def _document(report: MachineReport) -> Json:
    failed = report.failed_boot
    document: dict[str, Any] = {
        MARK: FORMAT,
        "when": report.when,
        "when_text": format_moment(report.when),
        "atoll": report.atoll,
        **_about(report),
        "deployment": report.system.number,
        "kernel": report.system.kernel,
        "architecture": report.system.architecture,
        "command_line": report.command_line or None,
        "machine_file": report.system.machine_file,
        "state": as_json(report.state),
        "protection": protection_as_json(report.protection) if report.protection else None,
        "drift": drift_as_json(report.drift, frozenset()) if report.drift else None,
        "failed_units": None if report.failed_units is None else list(report.failed_units),
        "health": as_document(report.health) if report.health else None,
        "notes": list(report.notes),
        "failed_boot": failed
        and {
            "deployment": failed.deployment,
            "attempt": failed.number,
            "started": failed.started,
            "why": failed.why,
            "messages": list(failed.messages),
        },
        "history": [
            {"when": each.when, "what": each.what, "deployment": each.deployment, "was": each.was}
            for each in report.history
        ],
        "versions": dict(report.versions),
        "not_read": [{"what": each.what, "why": each.why} for each in report.unread],
    }
    return document
