"""Collects everything visible of a worker from outside, and searches it for secrets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.changing import below
from tests.e2e.processes import command
from tests.worker import Worker


@dataclass(frozen=True)
class Process:
    """What another user, or a child of its own, could read of one process."""

    pid: int
    command: str
    environment: bytes

    @property
    def is_download(self) -> bool:
        return "router.downloads.child" in self.command

    def is_engine(self, model: str) -> bool:
        return "launch_server" in self.command and model in self.command


@dataclass
class Evidence:
    """Collected while a worker runs; `files` and `log` after it has left."""

    answers: list[bytes] = field(default_factory=list)  # the bytes on the wire
    processes: set[Process] = field(default_factory=set)
    files: dict[Path, bytes] = field(default_factory=dict)
    log: str = ""

    @asynccontextmanager
    async def of_processes(self, worker: Worker) -> AsyncIterator[None]:
        """Watch all processes of the worker during the block."""

        async def watch() -> None:
            while True:
                await asyncio.to_thread(self.see_processes, worker)
                await asyncio.sleep(0.02)

        task = asyncio.create_task(watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def see_processes(self, worker: Worker) -> None:
        router = command(worker.pid)
        for pid in worker.processes():
            line = command(pid)  # read first: a fork before its exec looks like us
            environment = b""  # if it is hidden from this user
            with suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            has_ended = command(pid) != line  # and so, perhaps, before its environment was read
            if line not in ("", router) and not has_ended:
                self.processes.add(Process(pid, line, environment))

    def downloads(self) -> set[int]:
        """The process ids of all downloads."""
        return {process.pid for process in self.processes if process.is_download}

    def see_files(self, directory: Path) -> None:
        """Record names and contents. The content of a symbolic link is its target."""
        for path in below(directory):
            self.files[path] = content(path)

    async def ask(self, url: str, request: bytes) -> bytes:
        """Send these exact bytes, and read the whole answer."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 90)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        self.answers.append(answer)
        return answer


def content(path: Path) -> bytes:
    """What a leak may be in: a file's bytes, or the target of a symbolic link."""
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return path.read_bytes() if path.is_file() else b""


def found(secrets: Mapping[str, str], *places: bytes | str) -> set[str]:
    """The names of the secrets that appear in any of these places."""
    texts = [place.encode() if isinstance(place, str) else place for place in places]
    return {
        name
        for name, secret in secrets.items()
        if any(secret.encode() in text for text in texts)
    }
