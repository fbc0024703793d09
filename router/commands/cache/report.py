"""Shows the results of the `cache` commands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.commands.output import Cell, Output, size_text
from router.downloads.inventory import KeptSnapshot, total
from router.downloads.verification import FileFinding

_GOOD, _BAD = "green", "bold red"
_SPANS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"))
_COMMIT = 12  # letters of a commit, in tables


@dataclass(frozen=True, slots=True)
class Checked:
    """One snapshot, after `verify`. `unread`: why it could not be read completely, or ""."""

    kept: KeptSnapshot
    findings: tuple[FileFinding, ...]
    unread: str = ""

    @property
    def flaws(self) -> list[FileFinding]:
        return [one for one in self.findings if one.flaw]

    @property
    def sound(self) -> bool:
        return not (self.flaws or self.unread)


def show_kept(
    output: Output, kept: Sequence[KeptSnapshot], caches: Sequence[Path], *, as_json: bool
) -> None:
    """`caches`: the directories that were searched."""
    if as_json:
        output.json({"bytes": total(kept), "snapshots": [_as_json(one) for one in kept]})
        return
    if not kept:
        output.line(f"No model is on the disk, in none of: {', '.join(map(str, caches))}")
        return
    columns = ("model", "commit", "revisions", "size", "last used", "access", "state", "cache")
    rows = [
        (
            one.repo_id,
            one.commit[:_COMMIT],
            ", ".join(one.names),
            size_text(one.size),
            span_text(one.idle),
            one.access,
            str(one.sealed),
            str(one.cache),
        )
        for one in kept
    ]
    output.table(columns, rows)
    output.line(f"{size_text(total(kept))} in all")


def show_removed(
    output: Output, outcomes: Sequence[tuple[KeptSnapshot, str]], *, as_json: bool
) -> None:
    if as_json:
        removed = [_as_json(one) | {"removed": not why, "reason": why} for one, why in outcomes]
        output.json({"snapshots": removed})
        return
    for one, why in outcomes:
        if why:
            output.line(f"{one} stays in {one.cache}: {why}", _BAD)
        else:
            output.line(f"removed {one} from {one.cache}", _GOOD)


def show_checked(output: Output, checked: Sequence[Checked], *, as_json: bool) -> None:
    if as_json:
        output.json(
            {
                "sound": all(one.sound for one in checked),
                "snapshots": [_checked_json(one) for one in checked],
            }
        )
        return
    columns = ("model", "commit", "files", "size", "result", "cache")
    output.table(columns, [_row(one) for one in checked])
    for one in checked:
        if one.unread:
            output.line(f"{one.kept}: {one.unread}", _BAD)
        for flaw in one.flaws:
            output.line(f"{one.kept}: {flaw.name}: {flaw.flaw}", _BAD)
    if not all(one.sound for one in checked):
        output.line(
            "Remove what is damaged (`model-router cache rm`): the next request downloads it "
            "again."
        )


def span_text(seconds: float) -> str:
    for span, name in _SPANS:
        if seconds >= 2 * span:
            return f"{seconds / span:.0f} {name} ago"
    return f"{seconds:.0f} s ago"


def _row(one: Checked) -> tuple[str | Cell, ...]:
    unchecked = sum(not finding.checked for finding in one.findings)
    result = Cell("sound", _GOOD) if one.sound else Cell("damaged", _BAD)
    if one.sound and unchecked:
        result = Cell(f"sound, {unchecked} by size alone", _GOOD)
    kept = one.kept
    files = str(len(one.findings))
    size = size_text(kept.size)
    return kept.repo_id, kept.commit[:_COMMIT], files, size, result, str(kept.cache)


def _as_json(one: KeptSnapshot) -> dict[str, Any]:
    return {
        "repository": one.repo_id,
        "commit": one.commit,
        "revisions": list(one.names),
        "bytes": one.size,
        "idle_seconds": round(one.idle),
        "access": one.access,
        "state": str(one.sealed),
        "cache": str(one.cache),
    }


def _checked_json(one: Checked) -> dict[str, Any]:
    flaws = [{"file": flaw.name, "flaw": flaw.flaw} for flaw in one.flaws]
    by_size = [finding.name for finding in one.findings if not finding.checked]
    return _as_json(one.kept) | {
        "sound": one.sound,
        "flaws": flaws,
        "unread": one.unread,
        "checked_by_size_alone": by_size,
    }
