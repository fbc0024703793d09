"""A worker that only downloads, in a process that a test can kill or freeze.

Run as a script, this is that process. It prints `at DONE`, then `path PATH` or `error CODE`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil  # type: ignore[import-untyped]

from router.downloads.downloader import SnapshotDownloader
from router.downloads.volume_lock import DEAD_AFTER_POLLS
from router.errors import RouterError
from router.models import ResolvedModel
from tests.changing import below
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub

HEARTBEAT = 0.2  # seconds: a dead worker loses the lock after three seconds
DEAD_AFTER = DEAD_AFTER_POLLS * HEARTBEAT / 2


class Fetcher:
    def __init__(self, hub: LoopbackHub, cache: Path, model: ResolvedModel) -> None:
        self.lines: list[str] = []
        self._cache = cache
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.downloads.fetcher",
                cache,
                model.repo_id,
                model.commit,
            ],
            env={"PATH": os.environ["PATH"], **hub.environment()},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            self.lines.extend(iter(stdout.readline, ""))

    @property
    def children(self) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            found: list[psutil.Process] = psutil.Process(self._process.pid).children()
            return found
        return []

    async def downloading(self) -> None:
        """Wait until this worker has received bytes."""
        await eventually(lambda: below(self._cache, "*.incomplete"))
        await eventually(lambda: self.lines)

    def kill(self) -> None:
        """Kill the worker and its child at once, as a power failure does."""
        for process in (*self.children, self._process):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        self._reader.join(10)

    def kill_router(self) -> None:
        """Kill only the worker. Its child must notice."""
        self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        for process in (self._process, *self.children):
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in (*self.children, self._process):
            process.send_signal(signal.SIGCONT)

    async def outcome(self, within: float = 30.0) -> str:
        """The last line: `path PATH` or `error CODE`."""
        await eventually(lambda: not self._reader.is_alive(), within)
        return self.lines[-1].strip()


async def _fetch(cache: str, repo_id: str, commit: str) -> None:
    downloader = SnapshotDownloader(Path(cache), os.environ, heartbeat=HEARTBEAT)
    try:
        found = await downloader.fetch(
            ResolvedModel(repo_id, commit), None, lambda at: print("at", at.done, flush=True)
        )
        print("path", found.path)
    except RouterError as error:
        print("error", error.code)


if __name__ == "__main__":
    asyncio.run(_fetch(*sys.argv[1:]))
