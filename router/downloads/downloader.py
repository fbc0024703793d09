"""Downloads: one per (repository, commit) at a time, each in a child process of its own."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from router.downloads.check_config import inspect
from router.downloads.fetch_process import FetchProcess
from router.downloads.last_asked import LastAsked
from router.downloads.select_files import SAFE
from router.downloads.snapshots import Claim, DiskLedger, Snapshots
from router.downloads.volume_lock import Overtaken, VolumeLock
from router.errors import HubUnavailable, InsufficientDisk, RouterError, UnsupportedModel
from router.models import Access, ResolvedModel
from router.pool.interfaces import FetchProgress
from router.secrets import Token

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
        caches: Sequence[Path] = (),
        last_asked: LastAsked | None = None,
        stall_timeout: float = 60.0,
        heartbeat: float = 2.0,
        free: Callable[[Path], int] = free_space,
    ) -> None:
        """`environment` is the router's; the child gets what it needs of it.

        `cache` is the directory that `HF_HUB_CACHE` means. `caches` are all that may have a
        snapshot already, in the order in which they are asked. `last_asked` is told of every
        private model before anything of it is on the disk. `stall_timeout`, in seconds,
        is how long a download may go without a byte; who has not shown life for 15
        `heartbeat`s is taken for dead by other workers on a shared volume.
        """
        self._cache = cache
        self._caches = tuple(dict.fromkeys((*caches, cache)))
        self._environment = environment
        self._last_asked = last_asked
        self._max_model_bytes = max_model_bytes
        self._allow_unsafe_weights = allow_unsafe_weights
        self._stall_timeout = stall_timeout
        self._heartbeat = heartbeat
        self._snapshots = Snapshots(cache)
        self._ledger = DiskLedger(lambda: free(cache))
        self._turns: WeakValueDictionary[tuple[str, str], _Turn] = WeakValueDictionary()

    async def fetch(
        self,
        model: ResolvedModel,
        credential: Token | None,
        progress: Callable[[FetchProgress], None],
    ) -> Path:
        """Implements `Downloader.fetch`.

        Who comes while another fetches the same snapshot waits, sees its progress, and
        then looks again: a failure of the other's token is not theirs.
        """
        if model.path is not None:
            return await asyncio.to_thread(_local, model.path)
        if self._last_asked is not None and model.access is Access.PRIVATE:
            await asyncio.to_thread(self._last_asked.note, model.repo_id, model.commit)
        turn = self._turn(model.repo_id, model.commit)
        turn.watchers.append(progress)
        try:
            async with turn.lock:
                found = await asyncio.to_thread(self._find, model)
                if found is None:
                    while not await self._download(model, credential, turn.tell):
                        pass  # overtaken by another worker: now this one waits for it
                    found = await asyncio.to_thread(self._find, model)
        finally:
            turn.watchers.remove(progress)
        if found is None:
            raise HubUnavailable("The download was damaged on the way to the disk: try again.")
        await asyncio.to_thread(inspect, found)
        return found

    @asynccontextmanager
    async def alone(self, repo_id: str, commit: str) -> AsyncIterator[None]:
        """Nobody of this worker fetches or finds this snapshot during the block."""
        turn = self._turn(repo_id, commit)  # held: the dictionary itself does not
        async with turn.lock:
            yield

    def _turn(self, repo_id: str, commit: str) -> _Turn:
        return self._turns.setdefault((repo_id, commit), _Turn())

    def _find(self, model: ResolvedModel) -> Path | None:
        for cache in self._caches:
            found = Snapshots(cache).find(model.repo_id, model.commit)
            # What was allowed when it was sealed need not be allowed now.
            if found and (self._allow_unsafe_weights or any(found.rglob(f"*{SAFE}"))):
                return found
        return None

    async def _download(
        self,
        model: ResolvedModel,
        credential: Token | None,
        tell: Callable[[FetchProgress], None],
    ) -> bool:
        """Bring the snapshot to disk; False where another worker took over."""
        attempt = _Attempt(model, secrets.token_hex(16))
        child = await FetchProcess.start(self._cache, self._environment)
        unwanted = False
        try:
            with self._ledger.claim() as claim:
                child.send(self._order(attempt, credential))
                return await self._follow(child, attempt, claim, tell)
        except (asyncio.CancelledError, InsufficientDisk):
            unwanted = True  # after other failures the next attempt goes on with whole files
            raise
        finally:
            await _to_the_end(self._clean_up(child, attempt, unwanted=unwanted))

    def _order(self, attempt: _Attempt, credential: Token | None) -> dict[str, object]:
        model = attempt.model
        return {
            "repo_id": model.repo_id,
            "commit": model.commit,
            "token": credential.reveal() if credential else None,
            "cache": str(self._cache),
            "visible": model.access in (Access.PUBLIC, Access.GATED),
            "max_bytes": self._max_model_bytes,
            "unsafe_weights": self._allow_unsafe_weights,
            "owner": attempt.owner,
            "heartbeat": self._heartbeat,
            "lenders": [str(cache) for cache in self._caches],
        }

    async def _follow(
        self,
        child: FetchProcess,
        attempt: _Attempt,
        claim: Claim,
        tell: Callable[[FetchProgress], None],
    ) -> bool:
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
                case {"event": "waiting", "done": int(done), "total": int(total)}:
                    tell(FetchProgress(min(done, total), total))
                case {"event": "plan", "total": int(total), "missing": int(missing)}:
                    claim.take(missing)
                    attempt.before = self._snapshots.blobs(attempt.model.repo_id)
                    child.send("go")
                    tell(FetchProgress(total - missing, total))
                case {"event": "progress", "done": int(done)}:
                    claim.left = max(0, total - done)
                    tell(FetchProgress(min(done, total), total))
                case {"event": "done"}:
                    return True
                case {"event": "overtaken"}:
                    return False
                case {"event": "failed", "code": code, "message": text, "retry_after": delay}:
                    raise _error(code, text, delay)
                case None:
                    raise HubUnavailable("The download ended unexpectedly: try again.")

    async def _clean_up(
        self, child: FetchProcess, attempt: _Attempt, *, unwanted: bool
    ) -> None:
        partials = await child.end()
        await asyncio.to_thread(self._tidy, attempt, partials, unwanted=unwanted)

    def _tidy(self, attempt: _Attempt, partials: Iterable[str], *, unwanted: bool) -> None:
        repo_id, commit = attempt.model.repo_id, attempt.model.commit
        self._snapshots.sweep(repo_id, partials)
        lease = VolumeLock.of(self._snapshots.leases(repo_id), attempt.owner)
        if lease is None:
            return  # not this worker's turn: what lies there is another's
        try:
            lease.beat()  # others wait while this goes on
            if unwanted and attempt.before is not None and self._find(attempt.model) is None:
                self._snapshots.discard(repo_id, commit, attempt.before)
        except Overtaken:
            return
        finally:
            lease.free()


@dataclass
class _Attempt:
    """One download by one child."""

    model: ResolvedModel
    owner: str  # its name at the lease
    before: frozenset[str] | None = None  # the blobs there were, once it may begin


def _local(directory: Path) -> Path:
    """The operator's own directory, as it is. Raises `UnsupportedModel`."""
    if not (directory / "config.json").is_file():
        raise UnsupportedModel(
            "The operator's directory for this model is not there, or has no config.json. "
            "Ask the operator."
        )
    return directory


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
