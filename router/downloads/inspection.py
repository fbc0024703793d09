"""Looks at a model as a download would, and stops before its weights."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from router.downloads.attempt import DownloadAttempt, Inspected
from router.downloads.child_process import ChildProcess
from router.downloads.places import Places
from router.downloads.request import DownloadRequest
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, free_space
from router.errors import HubUnavailable
from router.pool.interfaces import FetchProgress, Snapshot, the_operator
from router.repository.files import RemoteFile

_STALL_TIMEOUT = 60.0  # seconds that a download of small files may go without a byte


@asynccontextmanager
async def inspection(
    request: DownloadRequest, environment: Mapping[str, str], told: Inspected
) -> AsyncIterator[Snapshot]:
    """The small files that `request` would download, in a temporary cache, and their plan.

    Raises what the download would.
    """
    with tempfile.TemporaryDirectory(prefix="router-check-") as scratch:
        cache = Path(scratch) / "hub"
        described: Snapshot | None = None

        def note(progress: FetchProgress) -> None:
            nonlocal described
            described = progress.described or described

        async with Places(1).place(the_operator) as place:
            attempt = DownloadAttempt(
                replace(request, cache=str(cache), inspects=True),
                # What the Hub's client notes there goes with the small files.
                await ChildProcess.start(cache, {**environment, "HF_HOME": scratch}),
                Snapshots(cache),
                DiskSpace(partial(free_space, cache)),
                place,
                stall_timeout=_STALL_TIMEOUT,
                inspected=told,
            )
            await attempt.run(note)
        if described is None:
            raise HubUnavailable("The model's files could not be looked at: try again.")
        yield described


def files_of(snapshot: Path) -> list[RemoteFile]:
    """What is on the disk of a model that needs no download. Its content has no known name."""
    return [
        RemoteFile(file.relative_to(snapshot).as_posix(), file.stat().st_size, "")
        for file in sorted(snapshot.rglob("*"))
        if file.is_file()
    ]
