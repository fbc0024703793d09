"""A benchmark's processes: start, wait, end, and read from /proc."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE = 120.0  # seconds until a program answers
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Program:
    """How to start a server on a loopback port, and the address that answers when it is up.

    `tree`: its child processes do the same work, and count too.
    """

    command: Sequence[str]
    environ: Mapping[str, str]
    cwd: Path
    port: int
    probe: str
    tree: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """`seconds`: from the start until it answered `probe`."""

    url: str
    pids: tuple[int, ...]
    seconds: float


@contextmanager
def running(program: Program, log: Path) -> Iterator[Running]:
    """Start a program, and end its whole group after the block."""
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            program.command,
            cwd=program.cwd,
            env={"PATH": os.environ["PATH"], **program.environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    try:
        _wait_for(program, process, log)
        seconds = time.perf_counter() - began
        pids = tree_of(process.pid) if program.tree else (process.pid,)
        yield Running(f"http://127.0.0.1:{program.port}", pids, seconds)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(program: Program, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the probe gets any answer except a server error."""
    request = f"GET {program.probe} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", program.port), 5) as connection:
                connection.sendall(request.encode())
                if connection.recv(64)[9:10] in (b"2", b"4"):
                    return
        except OSError:
            pass
        time.sleep(0.01)
    raise RuntimeError(f"{program.command[:4]} did not come up:\n{log.read_text()[-4000:]}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def tree_of(pid: int) -> tuple[int, ...]:
    """A process and all its descendants."""
    found, parents = [pid], _parents()
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return tuple(found)


def _parents() -> Mapping[int, int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after_name = (entry / "stat").read_text().rpartition(")")[2]
        except OSError:  # it has ended
            continue
        parents[int(entry.name)] = int(after_name.split()[1])
    return parents


def cpu_time(pids: Iterable[int]) -> float:
    """Seconds of user and system time of all threads of these processes.

    Linux numbers the CPU clocks of other processes like this (clock_getcpuclockid(3)).
    `/proc/PID/stat` counts the same time in steps of 10 ms.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def resident(pids: Iterable[int]) -> int:
    """Bytes of resident memory of these processes."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE for pid in pids)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
