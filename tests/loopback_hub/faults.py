"""Faults on request: the Hub or its CDN limits, breaks, hangs or cuts off."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["429", "500", "503", "hang", "cut", "stall", "slow", "reset"]

OF_BODIES = ("cut", "stall", "slow")


@dataclass(eq=False, slots=True)
class Fault:
    path: str
    kind: Kind
    left: int | None  # how often it still applies; None: always
    cleared: Future[None]
    struck: bool = False

    def meets(self, method: str, path: str) -> bool:
        if self.left == 0 or (self.kind in OF_BODIES and method == "HEAD"):
            return False
        return path == self.path or re.fullmatch(self.path, path) is not None


class Faults:
    """Faults by path; the oldest match applies. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._cleared: Future[None] = Future()

    def add(self, path: str, kind: Kind, times: int | None = 1) -> Callable[[], bool]:
        """Let the next `times` requests for `path` fail; None: all until `clear`. Returns a
        function that says whether the fault has occurred.

        `path` is a decoded path, or a regular expression for a whole path. Files on the CDN are
        at `/cdn/<sha256>/<path>`. A "hang" answers only after `clear`; a "cut" ends in the
        middle of the body; a "slow" body takes 20 seconds; a "reset" replaces the answer.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"no such fault: {kind!r}")
        with self._lock:
            self._faults.append(fault := Fault(path, kind, times, self._cleared))
        return lambda: fault.struck

    def clear(self) -> None:
        """Forget all faults, and answer the hanging requests."""
        with self._lock:
            cleared, self._cleared, self._faults = self._cleared, Future(), []
        cleared.set_result(None)

    def strike(self, method: str, path: str) -> Fault | None:
        """Find the fault for this request, and count it as used once."""
        with self._lock:
            for fault in self._faults:
                if fault.meets(method, path):
                    fault.struck = True
                    if fault.left is not None:
                        fault.left -= 1
                    return fault
        return None
