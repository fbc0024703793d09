"""A worker in a container."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.image.buildah import Buildah, Mounts, volumes

LISTENING = r"listening on (http://\S+)"
# In the environment of every process of one container. A router hides its own variables except
# the first name; engines get the second name.
_MARKS = ("PYTHON_IMAGE_CHECK", "SGLANG_IMAGE_CHECK")


@dataclass
class Running:
    """A running worker: its log so far, and its address."""

    mark: str
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def processes(self) -> list[int]:
        """Its own process and its engines', oldest first. A chroot hides none of them."""
        marks = {f"{name}={self.mark}".encode() for name in _MARKS}
        return sorted(
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if not marks.isdisjoint(_environment(entry))
        )


class Container:
    """One container of an image. The workers' files stay in it, to be searched."""

    def __init__(self, buildah: Buildah, image: str) -> None:
        self._buildah = buildah
        self._name = buildah("from", "--pull-never", image)

    def commit(self, name: str) -> None:
        """Make an image of the container with all changes."""
        self._buildah("commit", "--quiet", self._name, name)

    @contextmanager
    def worker(
        self,
        command: Sequence[str],
        environ: Mapping[str, str],
        mounts: Mounts,
        *,
        user: str = "root",
        until: str = LISTENING,
    ) -> Iterator[Running]:
        """Start `command` and wait for a log line that matches `until`. Stop it afterward.

        Its environment is the image's plus `environ`. Raises `RuntimeError` if it does not
        start, exits with an error, or leaves a process behind.
        """
        running = Running(uuid4().hex)
        process = subprocess.Popen(
            [
                *self._buildah.command,
                *("run", "--user", user),
                *(f"--env={key}={value}" for key, value in environ.items()),
                *(f"--env={name}={running.mark}" for name in _MARKS),
                *volumes(mounts),
                *(self._name, "--", *command),
            ],
            env=self._buildah.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        up = threading.Event()
        reader = threading.Thread(target=_read, args=(process, running, until, up), daemon=True)
        reader.start()
        ended = False
        try:
            if not up.wait(120) or process.poll() is not None:
                raise RuntimeError(f"the worker did not start:\n{running.log}")
            yield running
            _signal(running.processes()[:1], signal.SIGTERM)
            status = process.wait(60)
            if status or running.processes():
                raise RuntimeError(f"it exited with {status} and left {running.processes()}")
            ended = True
        finally:
            if not ended:
                print(running.log, flush=True)
            _end(running)
            process.kill()
            process.wait(10)
            reader.join(10)


def _read(
    process: subprocess.Popen[str], running: Running, until: str, up: threading.Event
) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        for line in stream:
            running.lines.append(line)
            if found := re.search(until, line):
                running.url = found[1] if found.re.groups else ""
                up.set()
    up.set()


def _end(running: Running) -> None:
    deadline = time.monotonic() + 10
    while (left := running.processes()) and time.monotonic() < deadline:
        _signal(left, signal.SIGKILL)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _environment(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended
        return []
