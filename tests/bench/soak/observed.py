"""`python -m tests.bench.soak.observed SOCKET serve`: the worker as users run it, with a thread
that reports what the process holds to each client of the socket."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import threading
import tracemalloc
from asyncio import Task
from collections import Counter

from router.cli import main
from tests.bench.processes import descriptors, resident, threads

_MOST_TYPES, _MOST_LINES = 400, 25
_FRAMES = 6  # per allocation


def _holdings() -> dict[str, object]:
    gc.collect()
    pid, types = os.getpid(), Counter(map(type, gc.get_objects()))
    named = {
        f"{one.__module__}.{one.__qualname__}": n for one, n in types.most_common(_MOST_TYPES)
    }
    return {
        "bytes": resident([pid]),
        "files": descriptors(pid),
        "threads": threads(pid),
        "tasks": sum(n for one, n in types.items() if issubclass(one, Task)),
        "objects": types.total(),
        "types": named,
    }


def _serve(path: str, *, traced: bool) -> None:
    before: tracemalloc.Snapshot | None = None
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            caller, _ = listener.accept()
            with caller:
                told = _holdings()
                if traced:
                    now = tracemalloc.take_snapshot()
                    if before is not None:
                        told["grown"] = _grown(before, now)
                    before = before or now
                caller.sendall(json.dumps(told).encode())


def _grown(before: tracemalloc.Snapshot, now: tracemalloc.Snapshot) -> list[str]:
    most = now.compare_to(before, "traceback")[:_MOST_LINES]
    return [
        f"{one.size_diff:+} bytes, {one.count_diff:+} blocks: "
        + " < ".join(f"{f.filename[-40:]}:{f.lineno}" for f in reversed(one.traceback))
        for one in most
    ]


if __name__ == "__main__":
    path = sys.argv.pop(1)
    if traced := "--trace" in sys.argv:
        sys.argv.remove("--trace")
        tracemalloc.start(_FRAMES)
    threading.Thread(
        target=_serve, args=(path,), kwargs={"traced": traced}, daemon=True
    ).start()
    sys.exit(main())
