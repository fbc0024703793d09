"""`cache`: list, verify and remove the snapshots on the disk."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from router.commands.cache import report
from router.commands.output import Output, size_text
from router.commands.progress import reading
from router.config.errors import SettingsError
from router.config.settings import Settings
from router.downloads.inventory import KeptSnapshot, inventory, matching, total
from router.downloads.manual_removal import RemovalRefused, remove_kept
from router.downloads.verification import Verification
from router.errors import InvalidModelId


def cache_command(chosen: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Return the exit status. 0: done, and all is well; 1: something is not; 2: wrong use."""
    try:
        caches = Settings.from_environ(environ).hub_caches
        kept = list(inventory(caches))
        if chosen.name is not None:
            kept = _named(kept, chosen.name)
    except (SettingsError, InvalidModelId, _NotThere) as error:
        print(f"Nothing was done: {error}", file=sys.stderr)  # noqa: T201
        return 2
    output = Output()
    match chosen.action:
        case "rm":
            return _remove(output, kept, caches, sure=chosen.yes, as_json=chosen.json)
        case "verify":
            return _verify(output, kept, as_json=chosen.json)
    report.show_kept(output, kept, caches, as_json=chosen.json)
    return 0


class _NotThere(Exception):
    """No cache has such a snapshot."""


def _named(kept: Sequence[KeptSnapshot], name: str) -> list[KeptSnapshot]:
    found = matching(kept, name)
    if not found:
        raise _NotThere(f"{name} is in no cache of this worker (`model-router cache ls`)")
    return found


def _remove(
    output: Output,
    kept: Sequence[KeptSnapshot],
    caches: Sequence[Path],
    *,
    sure: bool,
    as_json: bool,
) -> int:
    if not sure:
        if as_json or not sys.stdin.isatty():
            print("Nothing was done: pass --yes to remove them", file=sys.stderr)  # noqa: T201
            return 2
        report.show_kept(output, kept, caches, as_json=False)
        if not _agrees(f"Remove these, {size_text(total(kept))} in all? [y/N] "):
            output.line("Nothing was removed.")
            return 1
    outcomes = [(one, _removed(one, caches)) for one in kept]
    report.show_removed(output, outcomes, as_json=as_json)
    return 0 if all(reason == "" for _, reason in outcomes) else 1


def _agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def _removed(one: KeptSnapshot, caches: Sequence[Path]) -> str:
    """Remove a snapshot. Returns the reason if it stays, or an empty string."""
    try:
        remove_kept(one, caches)
    except RemovalRefused as refused:
        return str(refused)
    except OSError as error:
        return f"{error.strerror or error}"
    return ""


def _verify(output: Output, kept: Sequence[KeptSnapshot], *, as_json: bool) -> int:
    checked = []
    with reading(total(kept)) as read:
        verification = Verification(read)
        for one in kept:
            try:
                checked.append(report.Checked(one, tuple(verification.findings(one))))
            except OSError as error:
                checked.append(report.Checked(one, (), f"{error.strerror or error}"))
    report.show_checked(output, checked, as_json=as_json)
    return 0 if all(one.sound for one in checked) else 1
