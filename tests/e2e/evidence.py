"""All that can be seen of a worker from outside, and a search of it for secrets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.e2e.processes import command
from tests.worker import Worker


@dataclass(frozen=True)
class Process:
    """What any user of the machine, or its own child, could read of one process."""

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
    """Gathered while a worker works; `files` and `log` once it has left."""

    answers: list[bytes] = field(default_factory=list)  # as they came over the wire
    processes: set[Process] = field(default_factory=set)
    files: dict[Path, bytes] = field(default_factory=dict)
    log: str = ""

    @asynccontextmanager
    async def of_processes(self, worker: Worker) -> AsyncIterator[None]:
        """Look at every process of the worker's, for as long as the block runs."""

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
            line = command(pid)  # first: a fork that is about to exec looks like us
            environment = b""  # where it is hidden from this user
            with suppress(OSError):
                environment = Path(f"/proc/{pid}/environ").read_bytes()
            if line not in ("", router):
                self.processes.add(Process(pid, line, environment))

    def see_files(self, directory: Path) -> None:
        """Names and contents, of symbolic links the target."""
        for path in directory.rglob("*"):
            is_file = path.is_file() and not path.is_symlink()
            self.files[path] = path.read_bytes() if is_file else b""

    async def ask(self, url: str, request: bytes) -> bytes:
        """Send bytes as they are, and take all that comes back."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            writer.write(request)
            answer = await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        self.answers.append(answer)
        return answer


def found(secrets: Mapping[str, str], *places: bytes | str) -> set[str]:
    """The names of the secrets that stand anywhere there."""
    texts = [place.encode() if isinstance(place, str) else place for place in places]
    return {
        name
        for name, secret in secrets.items()
        if any(secret.encode() in text for text in texts)
    }
