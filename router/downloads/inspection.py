"""Inspects a model: runs its download up to the weights, in a temporary cache."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from router.downloads.attempt import DownloadAttempt, Inspected
from router.downloads.child_process import ChildProcess
from router.downloads.errors import missing_offline
from router.downloads.fitness import SnapshotFitness, check_exists
from router.downloads.listing import below
from router.downloads.local_snapshots import LocalSnapshots
from router.downloads.places import Places
from router.downloads.request import DownloadRequest
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, free_space
from router.downloads.terms import DownloadTerms
from router.errors import HubUnavailable
from router.models import ResolvedModel
from router.pool.interfaces import FetchProgress, Snapshot, the_operator
from router.repository.files import RemoteFile
from router.secrets import Token

_STALL_TIMEOUT = 60.0  # seconds without a byte


class SnapshotInspector:
    def __init__(
        self,
        terms: DownloadTerms,
        fitness: SnapshotFitness,
        environment: Mapping[str, str],
        *,
        offline: bool,
    ) -> None:
        """`environment` is the router's. If `offline`, nothing may be downloaded."""
        self._terms, self._fitness = terms, fitness
        self._environment, self._offline = environment, offline
        self._local = LocalSnapshots(terms)
        self._snapshots = Snapshots(terms.cache)

    @asynccontextmanager
    async def inspected(
        self,
        model: ResolvedModel,
        credential: Token | None,
        told: Inspected,
        *,
        flags: tuple[str, ...] = (),
        claim: int | None = None,
    ) -> AsyncIterator[Snapshot]:
        """The model's small files, checked like in a download, until the block ends.

        Writes to no real cache. Raises what a download raises. `told` is called with each file
        that an engine needs, even if the model is then refused.
        """
        on = self._fitness.conditions(flags, claim)
        found = model.path or await asyncio.to_thread(self._local.find, model)
        if found is not None:
            await asyncio.to_thread(check_exists, found)
            for file in await asyncio.to_thread(_files_of, found):
                told(file, True)  # noqa: FBT003 - it is on the disk
            operators = model.path is not None
            yield Snapshot(found, await self._fitness.plan(found, on, operators=operators))
            return
        if self._offline:
            raise missing_offline(model.repo_id)
        request = self._terms.request(model, credential, on)
        shared = partial(self._snapshots.has, model.repo_id, model.commit)
        async with _small_files(
            request, self._environment, lambda file, found: told(file, found or shared(file))
        ) as snapshot:
            yield snapshot


@asynccontextmanager
async def _small_files(
    request: DownloadRequest, environment: Mapping[str, str], told: Inspected
) -> AsyncIterator[Snapshot]:
    """The small files of `request` in a temporary cache, and the model's memory plan.

    Raises what a download raises.
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
                # The Hub client's own notes are removed with the small files.
                await ChildProcess.start(cache, {**environment, "HF_HOME": scratch}),
                Snapshots(cache),
                DiskSpace(partial(free_space, cache)),
                place,
                stall_timeout=_STALL_TIMEOUT,
                inspected=told,
            )
            await attempt.run(note)
        if described is None:
            raise HubUnavailable("The model's files could not be inspected: try again.")
        yield described


def _files_of(snapshot: Path) -> list[RemoteFile]:
    """The files of a model that needs no download. Their blob names are unknown."""
    return [
        RemoteFile(file.relative_to(snapshot).as_posix(), file.stat().st_size, "")
        for file in sorted(below(snapshot))
        if file.is_file()
    ]
