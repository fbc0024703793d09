"""Reads starts and stops of engines from the worker's log."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

from tests.worker import Worker

_ANSWERED = " router.requests: POST "
_ENGINE = re.compile(r"T(?P<time>[\d:]+)\S* .* router\.pool\.\w+: (?P<said>.*)")
_EVENT = re.compile(r"\bstarting (?P<started>\S+)@|stopping (?P<evicted>\S+)@\S+ evicted")
_TIMEOUT = 60.0  # seconds until a line arrives through the pipe, on the busiest machine


class EngineLog:
    """Follows the log of a worker that gets one request at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._read = 0  # lines read so far

    def since_last(self) -> list[str]:
        """Every `started MODEL` and `evicted MODEL`, up to the log line of the next answer.

        Raises `TimeoutError` if that line does not come.
        """
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            lines = self._worker.lines[self._read :]
            for number, line in enumerate(lines, start=1):
                if _ANSWERED in line:
                    self._read += number
                    return list(_events(lines[:number]))
            time.sleep(0.01)
        raise TimeoutError("the worker's log has no line about the request")


def history(lines: Iterable[str]) -> Iterator[str]:
    """The log lines that say when each engine was ready, and when and why it stopped."""
    for line in lines:
        found = _ENGINE.search(line)
        if found and ("is ready after" in found["said"] or "stopping" in found["said"]):
            yield f"{found['time']}  {found['said']}"


def _events(lines: Iterable[str]) -> Iterator[str]:
    for found in filter(None, map(_EVENT.search, lines)):
        yield " ".join(f"{kind} {model}" for kind, model in found.groupdict().items() if model)
