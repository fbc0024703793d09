"""Finds out from an engine's output why it died."""

from __future__ import annotations

import re

# `[2026-01-31 12:00:00 TP0] `
_STAMP = re.compile(r"^\[\d{4}-\d\d-\d\d [^\]]*\] ")
# Colors, and control characters that could garble the log.
_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")

# The last line of a traceback, an error of argparse, or one of the supervisor.
_ERROR = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit)\b(?::|$)|: error: |^can't start "
)

# The device ran out of memory while it was being filled. This leaves out "Not enough memory.
# Please try to increase --mem-fraction-static" and "Loaded weights leave no GPU memory": they
# mean that the claim is too small, and a start with less memory would fail again.
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
)

_MAX_REASON = 500  # characters


class FailureReason:
    """Reads an engine's output line by line, and remembers what explains its death."""

    def __init__(self) -> None:
        self.out_of_memory = False
        self._error = ""
        self._last = ""

    def add(self, line: str) -> None:
        if _OUT_OF_MEMORY.search(line):
            self.out_of_memory = True
        text = _STAMP.sub("", clean(line)).strip()
        if _ERROR.search(text):
            self._error = text[:_MAX_REASON]
        if text:
            self._last = text[:_MAX_REASON]

    def __str__(self) -> str:
        """The last error, else the last line, else nothing.

        Only for the operator's log, because it may contain local paths.
        """
        return self._error or self._last


def clean(line: str) -> str:
    """The line without colors and control characters."""
    return _CONTROL.sub("", line)
