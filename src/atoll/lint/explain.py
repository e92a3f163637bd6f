"""Describe lints: the text of ``atoll explain`` for one, and the reference page of all.

``python3 -m atoll.lint.explain FILE`` writes docs/reference/lints.md.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.lint import accounts, boot, files, hardware, machine, packages, units
from atoll.lint.run import LINTS

if TYPE_CHECKING:
    from atoll.lint.model import Lint

_WIDTH = 100
_GROUPS = (
    ("Packages", packages.LINTS),
    ("Real hardware", hardware.LINTS),
    ("Booting and following", boot.LINTS),
    ("Units", units.LINTS),
    ("Accounts", accounts.LINTS),
    ("Files, scripts and the lock", files.LINTS),
    ("What machines do", machine.LINTS),
)
_HEAD = """\
# Lints

`atoll check` reports errors in a recipe and, if there are none, runs these lints.
Each lint finds something that would fail later, or that is rarely intended. A **fatal** one ends
the check with exit code 2; a **warning** does so only with `--strict`. `--skip LINT` skips one, and
`atoll explain LINT` prints the text below.

Some lints need facts that are not always available; `check` names the lints it skipped. *Package
lists* come from the mirror, or with `--offline` from the store's cache. *The packages' files* and
*accounts* are known after a build in the same store: `check` downloads no packages.

This page is generated from the lints; a test checks that it is current.
"""


def explain_lint(lint: Lint) -> str:
    """The text about one lint for ``atoll explain``."""
    lines = [f"{lint.name}: {lint.severity}: {lint.summary}", *textwrap.wrap(lint.why, 78)]
    lines += [f"needs: {', '.join(lint.needs)}"] if lint.needs else []
    return "\n".join(lines)


def describe_lint(lint: Lint) -> dict[str, object]:
    """The description of one lint for ``--json``."""
    return {
        "lint": lint.name,
        "severity": lint.severity.value,
        "summary": lint.summary,
        "why": lint.why,
        "needs": [need.value for need in lint.needs],
    }


def format_page() -> str:
    """The content of docs/reference/lints.md."""
    parts = [_HEAD]
    for title, lints in _GROUPS:
        parts.append(f"\n## {title}\n")
        for lint in lints:
            needs = f" Needs {', '.join(lint.needs)}." if lint.needs else ""
            parts.append(f"\n### `{lint.name}` ({lint.severity})\n\n")
            text = f"{lint.summary[0].upper()}{lint.summary[1:]}. {lint.why}{needs}"
            parts.append(textwrap.fill(text, _WIDTH, break_on_hyphens=False) + "\n")
    assert sum(len(lints) for _, lints in _GROUPS) == len(LINTS)
    return "".join(parts)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(format_page())
