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
from router.downloads.terms import HEARTBEAT
from router.errors import RouterError
from router.models import ResolvedModel
from tests.changing import below
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub

QUICK = 0.2  # seconds: to such a worker, one that is silent for three seconds is dead
STALL_TIMEOUT = 300.0  # seconds: longer than a test lets a fault last


def download_processes() -> list[psutil.Process]:
    """The processes of this process's downloads. Other tests may also have child processes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "router.downloads.child" in process.cmdline():
                found.append(process)
    return found


class Fetcher:
    def __init__(
        self,
        hub: LoopbackHub,
        cache: Path,
        model: ResolvedModel,
        heartbeat: float = HEARTBEAT,
    ) -> None:
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
                str(heartbeat),
            ],
            env={"PATH": os.environ["PATH"], **hub.patient_environment()},
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
        if self._process.poll() is not None:
            return []  # another process may have its number now
        found: list[psutil.Process] = psutil.Process(self._process.pid).children()
        return found

    @property
    def at(self) -> int:
        """The number of bytes on disk that it last reported."""
        progress = [line.split()[1] for line in self.lines if line.startswith("at ")]
        return int(progress[-1]) if progress else 0

    async def downloading(self) -> None:
        """Wait until this worker has received a part of the weights."""
        await eventually(lambda: self.at > 1_000_000)

    def kill(self) -> None:
        """Kill the worker and its child at once, as a power failure does."""
        self.freeze()  # so that neither sees the end of the other
        for process in (*self.children, self._process):
            process.send_signal(signal.SIGKILL)
        self._process.wait(60)
        self._reader.join(60)

    def kill_router(self) -> None:
        """Kill only the worker. Its child must notice."""
        self._process.kill()
        self._process.wait(60)

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)  # first: from now on, it starts no child
        for child in self.children:
            child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in (*self.children, self._process):
            process.send_signal(signal.SIGCONT)

    async def outcome(self) -> str:
        """The last line: `path PATH` or `error CODE`."""
        try:  # the Hub's client may ask again, after a minute
            await eventually(lambda: not self._reader.is_alive(), within=180.0)
        except TimeoutError:
            files = [f"{file}: {_beginning(file)!r}" for file in below(self._cache)]
            raise AssertionError("\n".join([*self.lines[-5:], *files])) from None
        return self.lines[-1].strip()


def _beginning(file: Path) -> bytes:
    try:
        with file.open("rb") as content:
            return content.read(64)
    except OSError:  # a directory, or removed meanwhile
        return b""


async def _fetch(cache: str, repo_id: str, commit: str, heartbeat: str) -> None:
    downloader = SnapshotDownloader(
        Path(cache), os.environ, heartbeat=float(heartbeat), stall_timeout=STALL_TIMEOUT
    )
    try:
        found = await downloader.fetch(
            ResolvedModel(repo_id, commit), None, lambda at: print("at", at.done, flush=True)
        )
        print("path", found.path)
    except RouterError as error:
        print("error", error.code)


if __name__ == "__main__":
    asyncio.run(_fetch(*sys.argv[1:]))
