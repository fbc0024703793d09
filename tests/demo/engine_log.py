"""What the worker's log tells of its engines."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

from tests.worker import Worker

_ANSWERED = " router.http: POST "
_CREW = re.compile(r"T(?P<time>[\d:]+)\S* .* router\.core\.crew: (?P<said>.*)")
_EVENT = re.compile(r"starting (?P<started>\S+)@|stopping (?P<evicted>\S+)@\S+ evicted")
_PATIENCE = 5.0  # seconds for a line to come through the pipe


class EngineLog:
    """Follows the log of a worker that is sent one request after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._read = 0  # lines

    def since_last(self) -> list[str]:
        """`started ...` and `evicted ...`, up to the line about the next answer.

        Raises `TimeoutError` where there is none.
        """
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            lines = self._worker.lines[self._read :]
            for number, line in enumerate(lines, start=1):
                if _ANSWERED in line:
                    self._read += number
                    return list(_events(lines[:number]))
            time.sleep(0.01)
        raise TimeoutError("the worker's log does not tell of the request")


def history(lines: Iterable[str]) -> Iterator[str]:
    """When which engine was up, and when and why it had to go."""
    for line in lines:
        found = _CREW.search(line)
        if found and ("is ready after" in found["said"] or "stopping" in found["said"]):
            yield f"{found['time']}  {found['said']}"


def _events(lines: Iterable[str]) -> Iterator[str]:
    for found in filter(None, map(_EVENT.search, lines)):
        yield " ".join(f"{kind} {model}" for kind, model in found.groupdict().items() if model)
