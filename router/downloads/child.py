"""The short-lived process that downloads one snapshot: `python -m router.downloads.child`.

Short-lived, because `huggingface_hub` keeps tokens in memory for ever, lacks timeouts on
some paths, and can't be cancelled; a process can.

On stdin: one line of JSON, the order, the token in it (never in argv or environment); later
a line `go`, when the disk space is reserved. The end of stdin is the end of the router.
On stdout, lines of JSON by `event`: `started`; `waiting` (another worker's bytes, and the
total); `partial` (the name of a file that is about to be written); `plan` (total and missing
bytes); `progress` (bytes done); and last `done`, `overtaken` (another worker took this one
for dead), or `failed` with one of our error codes. None of them holds a token.
"""

from __future__ import annotations

import ctypes
import glob
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from router.downloads.failures import broken_off, failure
from router.downloads.select_files import wanted
from router.downloads.snapshots import PARTIAL_SUFFIX, DamagedSnapshot, RemoteFile, Snapshots
from router.downloads.source_caches import borrow
from router.downloads.volume_lock import PATIENCE, Overtaken, Queue, VolumeLock
from router.errors import ModelTooLarge, RouterError
from router.hub.errors import Question, explain

CHUNK = 1024 * 1024  # bytes
REPORT_EVERY = 0.5  # seconds
ORPHANED_AFTER = 3600.0  # seconds without a write
PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class Order:
    """What the router wants of this process."""

    repo_id: str
    commit: str
    token: str | None
    cache: str
    visible: bool  # the repository is known to be public or gated
    max_bytes: int | None
    unsafe_weights: bool
    owner: str  # by what name the lease is taken
    heartbeat: float  # seconds
    lenders: tuple[str, ...]  # Hub caches that may have files already


class SnapshotFetch:
    """One order's execution. Whichever thread has the last word ends the process."""

    def __init__(self, order: Order, out: int) -> None:
        self._order = order
        self._out = out
        self._snapshots = Snapshots(Path(order.cache))
        self._partials: set[str] = set()
        self._lease: VolumeLock | None = None
        self._go = threading.Event()
        self._leaving = threading.RLock()  # a signal may come while its own thread holds it

    def run(self) -> NoReturn:
        sys.addaudithook(self._note_partial)
        signal.signal(signal.SIGTERM, lambda *_: self._leave())
        _die_with_parent()
        threading.Thread(target=self._obey, daemon=True).start()
        set_client_factory(self._client)
        # The library buffers 10 MB of each file: on a slow line that looks like a halt.
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK
        self._say("started")
        try:
            self._fetch()
        except RouterError as error:
            self._fail(error)
        except (OSError, RuntimeError, ValueError, httpx2.HTTPError, DamagedSnapshot) as error:
            self._fail(failure(error, self._question))
        self._leave("done")

    def _fetch(self) -> None:
        order = self._order
        Path(order.cache).mkdir(parents=True, exist_ok=True)
        files = wanted(self._listing(), unsafe_weights=order.unsafe_weights)
        total = sum(file.size for file in files)
        if order.max_bytes is not None and total > order.max_bytes:
            raise ModelTooLarge(
                f"The model {order.repo_id} has {total:,} bytes; this worker takes models of "
                f"at most {order.max_bytes:,} bytes."
            )
        lease = self._turn(files, total)
        if lease is None:
            return
        threading.Thread(target=self._keep, args=(lease,), daemon=True).start()
        self._snapshots.unlock(order.repo_id)
        self._remove_orphans(lease)
        self._snapshots.repair(order.repo_id, order.commit, files)
        borrow(self._snapshots, order.repo_id, order.commit, files, map(Path, order.lenders))
        missing = total - self._snapshots.present(order.repo_id, order.commit, files)
        self._say("plan", total=total, missing=missing)
        self._go.wait()
        threading.Thread(target=self._report, args=(files,), daemon=True).start()
        snapshot_download(
            order.repo_id,
            revision=order.commit,
            token=order.token or False,
            cache_dir=order.cache,
            allow_patterns=[glob.escape(file.name) for file in files],
        )
        self._snapshots.seal(order.repo_id, order.commit, files)

    def _listing(self) -> Iterator[RemoteFile]:
        # Asked of the Hub also where the cache has a listing: that one is not by caller.
        order = self._order
        tree = HfApi(token=order.token or False).list_repo_tree(
            order.repo_id, revision=order.commit, recursive=True
        )
        for file in tree:
            if isinstance(file, RepoFile):
                blob = file.lfs.sha256 if file.lfs else file.blob_id
                yield RemoteFile(file.path, file.size, blob)

    def _turn(self, files: list[RemoteFile], total: int) -> VolumeLock | None:
        """The lease; None where another worker has brought the snapshot meanwhile."""
        order = self._order
        queue = Queue(self._snapshots.leases(order.repo_id), order.owner)
        while True:
            self._lease = lease = queue.look()
            if self._snapshots.find(order.repo_id, order.commit) is not None:
                if lease is not None:
                    lease.free()
                return None
            if lease is not None:
                return lease
            partials = self._snapshots.partials(order.repo_id)
            self._say("waiting", done=self._done(files, partials), total=total)
            threading.Event().wait(order.heartbeat / 2)

    def _keep(self, lease: VolumeLock) -> None:
        while True:
            threading.Event().wait(self._order.heartbeat)
            try:
                with self._leaving:  # not after it was freed
                    lease.beat()
            except Overtaken:
                self._leave("overtaken")
            except OSError:  # the volume is unwell: if it stays so, others overtake
                continue

    def _remove_orphans(self, lease: VolumeLock) -> None:
        """Remove what workers that died were writing, and nobody will resume."""
        order = self._order
        # Who died was watched for this long. Other programs use the cache without a lease.
        watched = PATIENCE * order.heartbeat / 2
        limit = watched / 2 if lease.after_a_death else ORPHANED_AFTER
        for partial in self._snapshots.partials(order.repo_id):
            with suppress(FileNotFoundError):
                if lease.age_of(partial) > limit:
                    partial.unlink()

    def _obey(self) -> None:
        """The lifeline: `go`, then nothing, until the router ends or has ended."""
        for _ in sys.stdin.buffer:
            self._go.set()
        self._leave()

    def _report(self, files: list[RemoteFile]) -> None:
        before = -1
        while True:
            done = self._done(files, map(Path, list(self._partials)))
            if done != before:
                self._say("progress", done=done)
            before = done
            threading.Event().wait(REPORT_EVERY)

    def _done(self, files: list[RemoteFile], partials: Iterable[Path]) -> int:
        present = self._snapshots.present(self._order.repo_id, self._order.commit, files)
        return present + sum(map(_written, partials))

    def _note_partial(self, event: str, args: tuple[Any, ...]) -> None:
        """Tell of a partial file before it exists, so that it is swept however this ends."""
        if event == "open" and isinstance(args[0], str) and args[0].endswith(PARTIAL_SUFFIX):
            self._partials.add(args[0])
            self._say("partial", name=Path(args[0]).name)

    def _client(self) -> httpx2.Client:
        return httpx2.Client(
            follow_redirects=True, timeout=None, event_hooks={"response": [self._check]}
        )

    def _check(self, response: httpx2.Response) -> None:
        """End at the first refusal. The library would wait for the files in progress, sleep
        through a rate limit, or hide a 403 behind `LocalEntryNotFoundError`."""
        status = response.status_code
        if status < 400 or status == 408 or status >= 500:  # these it tries again
            return
        response.read()
        try:
            hf_raise_for_status(response)
        except HfHubHTTPError as error:
            home = httpx2.URL(constants.ENDPOINT)
            if response.url.host == home.host and response.url.port == home.port:
                self._fail(explain(error, self._question))
            self._fail(broken_off())  # a signed address on the CDN: says nothing of the caller

    @property
    def _question(self) -> Question:
        order = self._order
        return Question(
            constants.ENDPOINT,
            order.repo_id,
            order.commit,
            with_token=order.token is not None,
            visible=order.visible,
        )

    def _fail(self, error: RouterError) -> NoReturn:
        self._leave(
            "failed", code=error.code, message=error.message, retry_after=error.retry_after
        )

    def _leave(self, event: str | None = None, **fields: object) -> NoReturn:
        with self._leaving:
            for path in list(self._partials):
                Path(path).unlink(missing_ok=True)
            if event is not None:
                self._say(event, **fields)
            elif self._lease is not None:
                self._lease.free()  # else the router does so, when it has cleaned up
            os._exit(0)  # without waiting for threads that may hang in the network

    def _say(self, event: str, **fields: object) -> None:
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        os.write(self._out, line)  # whole: shorter than PIPE_BUF


def _written(partial: Path) -> int:
    """Bytes in a file that may be sparse, or gone by now."""
    try:
        status = partial.stat()
    except FileNotFoundError:
        return 0
    return min(status.st_size, status.st_blocks * 512)


def _die_with_parent() -> None:
    """The second line, should somebody else hold the other end of stdin."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> NoReturn:
    out = os.dup(1)
    os.dup2(2, 1)  # whatever prints must not get between the events
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(1)
    SnapshotFetch(Order(**json.loads(line)), out).run()


if __name__ == "__main__":
    main()
