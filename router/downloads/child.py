"""The process that downloads one snapshot: `python -m router.downloads.child`.

A separate process, because `huggingface_hub` keeps tokens in memory forever, lacks timeouts
on some paths, and can't be canceled.

Standard input has one line of JSON, a `DownloadRequest` (so that the token is never in argv
or in the environment). A second line, `start`, follows when disk space is reserved. End of
file means that the router has ended. See `child_events` for the output.
"""

from __future__ import annotations

import ctypes
import glob
import os
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory, snapshot_download
from huggingface_hub.hf_api import RepoFile

from router.concealment import hide_memory
from router.downloads.child_client import ClientFactory
from router.downloads.child_events import ChildEvents
from router.downloads.errors import download_error, storage_cause
from router.downloads.present_files import PresentFiles
from router.downloads.request import DownloadRequest
from router.downloads.snapshots import DamagedSnapshot, Snapshots, has_safe_weights
from router.downloads.volume_lock import LockContender, LockLost, VolumeLock
from router.errors import ModelTooLarge, RouterError
from router.repository.adapters import adapter_refused
from router.repository.check_snapshot import check_snapshot, planned
from router.repository.files import RemoteFile
from router.repository.listing import Listing
from router.repository.read_facts import read_adapter, read_facts
from router.repository.select_files import Selection

CHUNK = 1024 * 1024  # bytes
PROGRESS_INTERVAL = 0.5  # seconds
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class SnapshotDownload:
    """Carries out one request. The first thread that calls `ChildEvents.end` ends it."""

    def __init__(self, request: DownloadRequest, events: ChildEvents) -> None:
        self._request = request
        self._events = events
        self._snapshots = Snapshots(Path(request.cache))
        self._present = PresentFiles(request, self._snapshots)
        self._start = threading.Event()
        self._reporting = False
        self._files: list[RemoteFile] = []  # needed on disk, as far as is known

    def run(self) -> NoReturn:
        sys.addaudithook(self._events.audit)
        signal.signal(signal.SIGTERM, lambda *_: self._events.end())
        _die_with_parent()
        threading.Thread(target=self._watch_stdin, daemon=True).start()
        set_client_factory(ClientFactory(self._request, self._events).client)
        # The library buffers 10 MB of each file, which looks like a stall on a slow network.
        constants.DOWNLOAD_CHUNK_SIZE = CHUNK
        self._events.send("started")
        try:
            self._download()
        except RouterError as error:
            self._events.fail(error)
        except (OSError, RuntimeError, ValueError, httpx2.HTTPError, DamagedSnapshot) as error:
            request = self._request.on_hub(constants.ENDPOINT)
            self._events.fail(download_error(error, request), storage_cause(error))
        self._events.end("done")

    def _download(self) -> None:
        request = self._request
        Path(request.cache).mkdir(parents=True, exist_ok=True)
        selection = Selection(
            Listing.of(self._list_files()), request.repo_id, request.unsafe_weights
        )
        small = selection.small()
        if selection.is_adapter_alone and not small:
            raise adapter_refused(None)
        weights = [] if selection.is_adapter_alone else selection.likely_weights()
        if selection.index is None:  # an index may name fewer weights
            self._check_size(small + weights)
        lock = self._acquire_lock(small + weights)
        if lock is None:
            return
        self._files = small + weights
        small, weights = self._settle(selection, lock, small)
        if request.inspects:
            return
        self._fetch(weights)
        self._snapshots.seal(request.repo_id, request.commit, small + weights)

    def _settle(
        self, selection: Selection, lock: VolumeLock, small: list[RemoteFile]
    ) -> tuple[list[RemoteFile], list[RemoteFile]]:
        """Download the small files, and check them before the weights come and other models
        are removed to make room. Returns the small files and the weights."""
        snapshot = self._snapshots.path(self._request.repo_id, self._request.commit)
        self._present.clean_up(lock)
        self._present.use(small)
        self._fetch(small)
        if selection.is_adapter_alone:
            raise adapter_refused(read_adapter(snapshot))
        facts = read_facts(snapshot, selection.index)
        if more := [file for file in selection.of_modules(facts) if file not in small]:
            self._present.use(more)
            self._files = small + more + self._files[len(small) :]
            self._fetch(more)
        small, weights = small + more, selection.weights(facts)
        if selection.is_adapter(facts, weights):
            self._fetch(selection.of_adapter())
            raise adapter_refused(read_adapter(snapshot))
        self._files = small + weights
        self._tell(self._files)
        self._check_size(self._files)
        weight_bytes = sum(file.size for file in weights)
        check_snapshot(snapshot, self._request.conditions, weight_bytes)
        plan = planned(snapshot, self._request.conditions, weight_bytes)
        self._events.send("described", plan=plan and asdict(plan))
        self._present.use(weights)
        return small, weights

    def _check_size(self, files: list[RemoteFile]) -> None:
        total, most = sum(file.size for file in files), self._request.max_bytes
        if most is not None and total > most:
            self._tell(files)
            raise ModelTooLarge(
                f"The model {self._request.repo_id} has {total:,} bytes; this worker takes "
                f"models of at most {most:,} bytes."
            )

    def _tell(self, files: list[RemoteFile]) -> None:
        """In an inspection, report each file, and whether a cache has it."""
        if not self._request.inspects:
            return
        self._present.link(files)
        for file in files:
            # A file that this process has just downloaded is not a link.
            linked = self._snapshots.is_linked(self._request.repo_id, file)
            self._events.send("file", **asdict(file), on_disk=linked)

    def _fetch(self, files: list[RemoteFile]) -> None:
        """Download some of `self._files`, once the router has reserved space for them."""
        request = self._request
        needed = sum(file.size for file in files) - self._present.bytes_done(files)
        self._start.clear()
        self._events.send(
            "plan",
            total=sum(file.size for file in self._files),
            done=self._present.bytes_done(self._files),
            next=needed,
        )
        self._start.wait()
        if not self._reporting:
            self._reporting = True
            threading.Thread(target=self._report, daemon=True).start()
        snapshot_download(
            request.repo_id,
            revision=request.commit,
            token=request.token or False,
            cache_dir=request.cache,
            allow_patterns=[glob.escape(file.name) for file in files],
        )

    def _list_files(self) -> Iterator[RemoteFile]:
        # Always from the Hub: a cached listing may be one that only another caller may see.
        request = self._request
        tree = HfApi(token=request.token or False).list_repo_tree(
            request.repo_id, revision=request.commit, recursive=True
        )
        for file in tree:
            if isinstance(file, RepoFile):
                blob = file.lfs.sha256 if file.lfs else file.blob_id
                yield RemoteFile(file.path, file.size, blob)

    def _acquire_lock(self, files: list[RemoteFile]) -> VolumeLock | None:
        """Wait for the lock. None if another worker has completed the snapshot."""
        request = self._request
        folder = self._snapshots.lock_folder(request.repo_id)
        total = sum(file.size for file in files)
        contender = LockContender(folder, request.owner)
        while True:
            lock = contender.poll()
            if lock is not None:
                self._events.hold(lock)
            found = self._snapshots.find(request.repo_id, request.commit)
            if found and (request.unsafe_weights or has_safe_weights(found)):
                if lock is not None:
                    lock.release()
                return None
            if lock is not None:
                threading.Thread(target=self._keep_lock, daemon=True).start()
                return lock
            partials = self._snapshots.partials(request.repo_id)
            self._events.send(
                "waiting", done=self._present.bytes_done(files, partials), total=total
            )
            threading.Event().wait(request.heartbeat / 2)

    def _keep_lock(self) -> None:
        while True:
            threading.Event().wait(self._request.heartbeat)
            try:
                self._events.heartbeat()
            except LockLost:
                self._events.end("lock_lost")
            except OSError:  # a faulty volume; if this continues, other workers take the lock
                continue

    def _watch_stdin(self) -> None:
        """Start at each line; end at end of file, which means that the router has ended."""
        for _ in sys.stdin.buffer:
            self._start.set()
        self._events.end()

    def _report(self) -> None:
        before = -1
        while True:
            done = self._present.bytes_done(self._files, self._events.partials)
            if done != before:
                self._events.send("progress", done=done)
            before = done
            threading.Event().wait(PROGRESS_INTERVAL)


def _die_with_parent() -> None:
    """A fallback, in case another process holds the other end of stdin open."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def main() -> NoReturn:
    hide_memory()  # before the token is in memory
    out = os.dup(1)
    os.dup2(2, 1)  # printed text must not get into the events
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(1)
    SnapshotDownload(DownloadRequest.parse(line), ChildEvents(out)).run()


if __name__ == "__main__":
    main()
