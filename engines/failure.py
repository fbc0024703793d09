"""Why an engine died, made out from what it printed."""

from __future__ import annotations

import re

# `[2026-01-31 12:00:00 TP0] `, colours, and whatever else could garble a log
_STAMP = re.compile(r"^\[\d{4}-\d\d-\d\d [^\]]*\] ")
_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")

# The last line of a traceback, and argparse's last word.
_ERROR = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit)\b(?::|$)|: error: |^can't start "
)

# The accelerator's memory ran out while it was being filled. Not "Not enough memory.
# Please try to increase --mem-fraction-static", nor "Loaded weights leave no GPU memory":
# those say that the claim is too small, and a smaller start would only fail again.
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
)

_LONGEST = 500


class Diagnosis:
    """Hears an engine's log line by line and remembers what matters."""

    def __init__(self) -> None:
        self.out_of_memory = False
        self._error = ""
        self._last = ""

    def hear(self, line: str) -> None:
        if _OUT_OF_MEMORY.search(line):
            self.out_of_memory = True
        text = _STAMP.sub("", clean(line)).strip()
        if _ERROR.search(text):
            self._error = text[:_LONGEST]
        if text:
            self._last = text[:_LONGEST]

    @property
    def reason(self) -> str:
        """The last error, else the last line, else nothing. For the operator's log alone:
        it may hold local paths."""
        return self._error or self._last


def clean(line: str) -> str:
    """The line without colours and control characters."""
    return _CONTROL.sub("", line)
