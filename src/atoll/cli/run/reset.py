"""``atoll reset``: what it does; ``cli/reset.py`` has its arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from atoll.base.text import cut, one_line
from atoll.cli.output.progress import format_amount
from atoll.cli.typed_confirmation import confirm_change
from atoll.host.fs import require_root
from atoll.machine.deployments.sysroot import find_installed
from atoll.machine.reset import preview_reset, reset

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from atoll.base.report import Reporter
    from atoll.machine.reset import ResetPreview

WIDTH = 80
MOST_LISTED = 12


def run(arguments: argparse.Namespace, reporter: Reporter) -> int:
    sysroot = find_installed(getattr(arguments, "root", None))
    as_json = getattr(arguments, "json", False)
    keep_home = arguments.keep_home
    if sysroot.is_running:
        require_root("resetting the machine")
    with reporter.step("Looking at what is there"):
        preview = preview_reset(sysroot, keep_home=keep_home)
    if not as_json:
        print("\n".join(format_preview(preview, keep_home=keep_home)))
    if arguments.dry_run:
        if as_json:
            print(json.dumps(preview_as_json(preview), indent=2))
        return 0
    confirm_change("reset this machine", yes=arguments.yes, word="reset")
    result = reset(sysroot, keep_home=keep_home, reporter=reporter)
    if as_json:
        number = result.deployment.number
        print(json.dumps({**preview_as_json(preview), "deployment": number}, indent=2))
    if result.warning:
        reporter.notice(result.warning)
    reporter.notice("nothing is removed yet; the next boot starts anew, and once it was healthy,")
    reporter.notice("what was there before is removed for good")
    reporter.notice(f"next: systemctl reboot (to change your mind: {sysroot.command('cancel')})")
    return 0


def format_preview(preview: ResetPreview, *, keep_home: bool) -> Iterator[str]:
    yield f"After the next boot this machine is a new {one_line(preview.image)}."
    yield ""
    yield "REMOVED, once the new system was healthy:"
    for each in preview.removed:
        count = "1 file" if each.files == 1 else f"{each.files} files"
        yield f"  {each.path:<14}{count}, {format_amount(each.size, 'B')}"
    for title in preview.deployments:
        yield cut(f"  the way back to {title}", WIDTH)
    yield from _listed("  settings in /etc", preview.etc)
    yield ""
    yield "kept:"
    if keep_home:
        yield "  /home and /root"
    yield "  the machine's id, ssh host keys, name, network, disks, keyboard, language"
    yield "  accounts and their passwords"
    yield from _listed("  of these, changed on this machine", preview.kept)
    if preview.shared_home:
        yield cut(f"  home directories of {preview.shared_home}", WIDTH)


def _listed(heading: str, paths: tuple[str, ...]) -> Iterator[str]:
    if not paths:
        return
    yield f"{heading}: {len(paths)}"
    for path in paths[:MOST_LISTED]:
        yield one_line(f"    /etc/{path}")
    if len(paths) > MOST_LISTED:
        yield f"    and {len(paths) - MOST_LISTED} more: atoll drift lists all"


def preview_as_json(preview: ResetPreview) -> dict[str, object]:
    return {
        "image": preview.image,
        "removed": [
            {"path": each.path, "files": each.files, "size": each.size} for each in preview.removed
        ],
        "etc": [f"/etc/{path}" for path in preview.etc],
        "kept": [f"/etc/{path}" for path in preview.kept],
        "deployments": list(preview.deployments),
        "shared_home": preview.shared_home or None,
    }
