"""Downloads: one per (repository, commit) at a time, each in a child process of its own."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from router.core.models import Access, ResolvedModel
from router.core.ports import Credential, FetchProgress
from router.disk import Claim, DiskLedger, Snapshots
from router.errors import HubUnavailable, InsufficientDisk, RouterError
from router.fetch_process import FetchProcess

START_TIMEOUT = 60.0  # seconds for a Python process to come up on a busy machine


def free_space(cache: Path) -> int:
    """Bytes that are free for this user on the disk that holds `cache`."""
    return shutil.disk_usage(cache).free


class SnapshotDownloader:
    """Implements the port `Downloader`."""

    def __init__(
        self,
        cache: Path,
        environment: Mapping[str, str],
        *,
        max_model_bytes: int | None = None,
        allow_unsafe_weights: bool = False,
        stall_timeout: float = 60.0,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        """`environment` is the router's; the child gets what it needs of it.

        `cache` is the directory that `HF_HUB_CACHE` means. `stall_timeout`, in seconds, is
        how long a download may go without a byte.
        """
        self._cache = cache
        self._environment = environment
        self._max_model_bytes = max_model_bytes
        self._allow_unsafe_weights = allow_unsafe_weights
        self._stall_timeout = stall_timeout
        self._snapshots = Snapshots(cache)
        self._ledger = DiskLedger(lambda: free(cache))
        self._turns: WeakValueDictionary[tuple[str, str], _Turn] = WeakValueDictionary()

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Credential | None,
        progress: Callable[[FetchProgress], None],
    ) -> Path:
        """Implements `Downloader.fetch`.

        Who comes while another fetches the same snapshot waits, sees its progress, and
        then looks again: a failure of the other's token is not theirs.
        """
        turn = self._turns.setdefault((model.repo_id, model.commit), _Turn())
        turn.watchers.append(progress)
        try:
            async with turn.lock:
                found = await self._find(model)
                if found is None:
                    await self._download(model, credential, turn.tell)
                    found = await self._find(model)
        finally:
            turn.watchers.remove(progress)
        if found is None:
            raise HubUnavailable("The download was damaged on the way to the disk: try again.")
        return found

    async def _find(self, model: ResolvedModel) -> Path | None:
        return await asyncio.to_thread(self._snapshots.find, model.repo_id, model.commit)

    async def _download(
        self,
        model: ResolvedModel,
        credential: Credential | None,
        tell: Callable[[FetchProgress], None],
    ) -> None:
        before = self._snapshots.blobs(model.repo_id)
        child = await FetchProcess.start(self._cache, self._environment)
        unwanted = False
        try:
            with self._ledger.claim() as claim:
                child.send(self._order(model, credential))
                await self._follow(child, claim, tell)
        except (asyncio.CancelledError, InsufficientDisk):
            unwanted = True  # after other failures the next attempt goes on with whole files
            raise
        finally:
            await _to_the_end(self._clean_up(child, model, before if unwanted else None))

    def _order(self, model: ResolvedModel, credential: Credential | None) -> dict[str, object]:
        return {
            "repo_id": model.repo_id,
            "commit": model.commit,
            "token": credential.reveal() if credential else None,
            "cache": str(self._cache),
            "visible": model.access in (Access.PUBLIC, Access.GATED),
            "max_bytes": self._max_model_bytes,
            "unsafe_weights": self._allow_unsafe_weights,
        }

    async def _follow(
        self, child: FetchProcess, claim: Claim, tell: Callable[[FetchProgress], None]
    ) -> None:
        patience, total = START_TIMEOUT, 0
        while True:
            try:
                async with asyncio.timeout(patience):
                    event = await child.receive()
            except TimeoutError:
                raise HubUnavailable(
                    "The download from the Hugging Face Hub came to a halt: try again."
                ) from None
            patience = self._stall_timeout
            match event:
                case {"event": "plan", "total": int(total), "missing": int(missing)}:
                    claim.take(missing)
                    child.send("go")
                    tell(FetchProgress(total - missing, total))
                case {"event": "progress", "done": int(done)}:
                    claim.left = max(0, total - done)
                    tell(FetchProgress(min(done, total), total))
                case {"event": "done"}:
                    return
                case {"event": "failed", "code": code, "message": text, "retry_after": delay}:
                    raise _error(code, text, delay)
                case None:
                    raise HubUnavailable("The download ended unexpectedly: try again.")

    async def _clean_up(
        self, child: FetchProcess, model: ResolvedModel, before: frozenset[str] | None
    ) -> None:
        partials = await child.end()
        await asyncio.to_thread(self._snapshots.sweep, model.repo_id, partials)
        if before is not None:
            await asyncio.to_thread(
                self._snapshots.discard, model.repo_id, model.commit, before
            )


class _Turn:
    """Who is at one snapshot: one fetches, the others watch."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.watchers: list[Callable[[FetchProgress], None]] = []

    def tell(self, progress: FetchProgress) -> None:
        for watcher in tuple(self.watchers):
            watcher(progress)


def _errors(kind: type[RouterError]) -> Iterator[type[RouterError]]:
    for error in kind.__subclasses__():
        yield from _errors(error)
        if "code" in vars(error):
            yield error


def _error(code: str, message: str, retry_after: float | None) -> RouterError:
    """The child's error, as it was raised there."""
    error = next(kind for kind in _errors(RouterError) if kind.code == code)(message)
    error.retry_after = retry_after
    return error


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await all of `work`, however often this task is cancelled meanwhile; then say so."""
    task = asyncio.create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
