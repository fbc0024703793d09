"""The worker as users run it: `python -m router ...` in its own process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

ROOT = Path(__file__).parents[1]
_PATIENCE = 90.0  # seconds, enough for the busiest machine
_LISTENING = re.compile(r"listening on (http://\S+)")


class Worker:
    """`with Worker(directory, env) as worker`: serves at `worker.url` until the block ends.

    All its files are below `directory`; `log` keeps its output. Of this process's environment,
    it sees only PATH; `environ` adds to that.
    """

    command: ClassVar = "serve"

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self.url = ""
        self.program, self.cwd = [sys.executable, "-m", "router"], ROOT
        self._up = threading.Event()
        self._home = str(directory / "hf")
        self._environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TMPDIR": str(directory),
            "HF_HOME": self._home,
            "BAKED_MODELS": str(directory / "models"),
            "BASE_PATH": str(directory / "volume"),
            "HOST": "127.0.0.1",
            "PORT": "0",
            "DRAIN_TIMEOUT": "5",
            **environ,
        }

    @property
    def log(self) -> str:
        return "".join(self.lines)

    @property
    def environ(self) -> Mapping[str, str]:
        """The worker's whole environment."""
        return self._environ

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self) -> None:
        """Start it in its own process group, without waiting for anything."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [*self.program, self.command],
            cwd=self.cwd,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self.start()
        try:
            up = self._up.wait(_PATIENCE)
        except BaseException:  # the demo can be interrupted here
            self.end()
            raise
        if not up or not self.url:
            self.end()
            raise RuntimeError(f"the worker did not come up:\n{self.log}")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.stop()
        finally:
            self.end()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop, and return its exit status."""
        self.send(number)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def interrupt(self) -> None:
        """Press Ctrl-C: a terminal signals its whole foreground group."""
        os.killpg(self.pid, signal.SIGINT)

    def wait(self, seconds: float = _PATIENCE) -> int:
        """Its exit status, with the complete log. Raises `subprocess.TimeoutExpired`."""
        status = self._process.wait(seconds)
        self._reader.join(_PATIENCE)
        return status

    def end(self) -> None:
        """End all its processes, whatever a test did."""
        self._process.kill()
        self._process.wait(_PATIENCE)
        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(_PATIENCE)

    def processes(self) -> list[int]:
        """All processes of this worker, including itself, whatever their parents are.

        Each has the directory in its environment or on its command line. Only root sees the
        environment of processes that hide it. Zombies have neither, and do not count.
        """
        mark = f"{self.directory}/".encode()
        return [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if int(entry.name) == self._alive()
            or any(mark in _content(entry / name) for name in ("environ", "cmdline"))
        ]

    def _alive(self) -> int | None:
        return self.pid if self._process.poll() is None else None

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self.lines.append(line)
                if found := _LISTENING.search(line):
                    self.url = found[1]
                    self._up.set()
        self._up.set()


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it has ended, or hides its environment
        return b""
