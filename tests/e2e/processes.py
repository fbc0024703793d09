"""Reads the process table. A process may end at any moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.changing import opened
from tests.worker import Worker


def command(pid: int) -> str:
    """A process's command line; empty once it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    return ""


@contextmanager
def paused(*pids: int) -> Iterator[None]:
    """Stop these processes during the block."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def resident(pid: int) -> int:
    """A process's resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def may_dump(pid: int) -> bool:
    """Whether a crash of this process would write its memory to a file. Raises `OSError`."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
        if line.startswith("Max core file size")
    )
    return line.split()[4] != "0"


def engines(worker: Worker) -> set[int]:
    """The session id of each engine, one per engine however many processes it has."""
    return {
        session
        for pid in worker.processes()
        if "sglang.launch_server" in command(pid) and (session := _session(pid))
    }


def _session(pid: int) -> int | None:
    with suppress(OSError):
        # The command's name may contain spaces and parentheses: split after the last one.
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[3])
    return None


def open_files(pid: int, *, but_connections_to: Collection[str] = ()) -> int:
    """Count the open files of a process, without connections to these origins."""
    spared = {urlsplit(origin).port for origin in but_connections_to}
    if os.geteuid() != 0:
        pytest.skip("the router hides its open files from other users than root")
    connections = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    rows = [row.split() for row in connections]
    kept = {f"socket:[{row[9]}]" for row in rows if int(row[2].partition(":")[2], 16) in spared}
    return sum(file not in kept for file in opened(pid))
