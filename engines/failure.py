"""Finds out from an engine's output why it died."""

from __future__ import annotations

import re

from router.local_paths import hide_paths
from router.logs import one_line
from router.redaction import redact

# `[2026-01-31 12:00:00 TP0] `
_STAMP = re.compile(r"^\[\d{4}-\d\d-\d\d [^\]]*\] ")
# Colors, and control characters that could garble the log.
_CONTROL = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f]")

# The last line of a traceback, an error of argparse, or one of the supervisor.
_ERROR = re.compile(
    r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit)\b(?::|$)|: error: |^can't start "
)

# The device ran out of memory during an allocation. "Not enough memory. Please try to increase
# --mem-fraction-static" and "Loaded weights leave no GPU memory" are not in this list: they
# mean that the claim is too small, and a start with less memory would fail again.
_OUT_OF_MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
    r"|CUBLAS_STATUS_ALLOC_FAILED"
)

# Errors of SGLang and transformers that every further start of the model would repeat
# (model_loader/utils.py, models/registry.py, configs/model_config.py; transformers'
# configuration_auto.py and dynamic_module_utils.py).
_UNSUPPORTED = re.compile(
    r"^ValueError: (?:Model architectures \[.* are not supported for now\."
    r"|\S+ has no SGlang implementation and the Transformers implementation is not compatible"
    r"|Cannot find model module\."
    r"|The checkpoint you are trying to load has model type "
    r"|Unrecognized model in "
    r"|Unknown quantization method: "
    r"|The quantization method \S+ is not supported for the current GPU\."
    r"|The repository \S+ (?:contains|references) custom code )"
    r"|^(?:ImportError|ModuleNotFoundError): (?:You need to install \S+ to use "
    r"|The \S+ dictionary is not installed\."
    r"|\S+ requires the .* library but it was not found in your environment\."
    r"|This modeling file requires the following packages that were not found )"
)

_RECENT = 60  # lines: when one process of the engine dies, the others print errors, too
_MAX_LINE = 4096  # characters
_MAX_REASON = 500
_MAX_TOLD = 300
# An exception with its message on the next line, as transformers writes some.
_BARE = re.compile(r"(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception):")
# The last line of a traceback. Other errors are about flags or this worker.
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception)\b:")


class FailureReason:
    """Reads an engine's output line by line and remembers why it died."""

    def __init__(self) -> None:
        self.out_of_memory = False
        self._error = ""
        self._age = 0  # lines since the error
        self._last = ""

    def add(self, line: str) -> None:
        if _OUT_OF_MEMORY.search(line):
            self.out_of_memory = True
        plain = clean(line)
        text = _STAMP.sub("", plain).strip()
        if _BARE.fullmatch(self._error) and _goes_on(plain.strip()):
            text = f"{self._error} {text}"
        self._age += 1
        if _ERROR.search(text):
            self._age = 0
            # Redact before cutting: a token that is cut in half is not recognized.
            self._error = redact(text[:_MAX_LINE])[:_MAX_REASON]
        if text:
            self._last = text[:_MAX_LINE]

    def started(self) -> None:
        """Forget the errors of the start: they explain no later death."""
        self.out_of_memory, self._error = False, ""

    def __str__(self) -> str:
        """The last error if it is among the last `_RECENT` lines, else empty.

        For the operator's log only: it may contain local paths.
        """
        return self._error if self._age < _RECENT else ""

    @property
    def last(self) -> str:
        """The last error, else the last line: it shows what a slow start is busy with."""
        return self._error or redact(self._last)[:_MAX_REASON]

    @property
    def told(self) -> str:
        """The part for the caller: the last exception in one line, without paths or tokens.

        Empty if there was no exception. The text is untrusted: a repository can write anything
        into it.
        """
        if not _EXCEPTION.match(self._error):
            return ""
        text = one_line(hide_paths(" ".join(self._error.split())))
        short = text if len(text) <= _MAX_TOLD else f"{text[: _MAX_TOLD - 3]}..."
        return short.rstrip(".") if short is text else short

    @property
    def unsupported(self) -> bool:
        """SGLang can't serve this model: every start would fail the same way."""
        return bool(_UNSUPPORTED.match(self._error))


def _goes_on(line: str) -> bool:
    """Whether the line may be the message of the exception named on the line before."""
    return bool(line) and not (
        _STAMP.match(line) or _ERROR.search(line) or line.startswith("Traceback ")
    )


def clean(line: str) -> str:
    """The line without colors and control characters."""
    return _CONTROL.sub("", line)
