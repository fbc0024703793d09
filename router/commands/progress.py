"""Progress bars on a terminal, and nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from router.pool.interfaces import FetchProgress

if TYPE_CHECKING:
    from rich.progress import Progress


def has_bars(stream: TextIO, environ: Mapping[str, str]) -> bool:
    return stream.isatty() and environ.get("TERM") != "dumb"


@contextmanager
def reading(total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with each number of bytes read."""
    if not has_bars(sys.stderr, os.environ):
        yield lambda _: None
        return
    with _bars() as bars:
        task = bars.add_task("verifying", total=total)
        yield lambda size: bars.advance(task, size)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that a task is running."""
    if not has_bars(sys.stderr, os.environ):
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - for a terminal alone

    with Console(file=sys.stderr).status(what):
        yield


@contextmanager
def fetching(name: str) -> Iterator[Callable[[FetchProgress], None]]:
    """Yield a function to call with a download's progress. For a terminal only."""
    with _bars() as bars:
        task = bars.add_task(name, total=None)

        def note(progress: FetchProgress) -> None:
            what = f"{name} (waits)" if progress.queued else name
            total = progress.total or None
            bars.update(task, description=what, completed=progress.done, total=total)

        yield note


def _bars() -> Progress:
    from rich import progress  # noqa: PLC0415 - for a terminal alone
    from rich.console import Console  # noqa: PLC0415

    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
        console=Console(file=sys.stderr),
    )
