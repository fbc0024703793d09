"""Log formats, and the only log handler of the process, which redacts secrets.

Callers, repositories and engines influence what is logged. Each record still becomes a single
line with no hidden characters (see `one_line`).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

import orjson

from router.redaction import RedactionFilter, Redactor
from router.secrets import Secret
from router.told import Told, ToldLines, ToldRecord

# At INFO these loggers print signed URLs, at DEBUG headers and xet tokens. The access log
# prints query strings.
_VERBOSE = (
    "aiohttp.access",
    "filelock",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "urllib3",
)

# Characters that could forge a line or change how one is shown: control characters (C0 except
# the tab, and C1), line separators, invisible and bidirectional marks, and lone surrogates.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff]"
)


def one_line(text: str) -> str:
    """Escape a text so that it fits on one log line and hides nothing."""
    if text.isascii() and text.isprintable():  # a fast path for most texts
        return text
    return _UNSAFE.sub(_escaped, text)


def _escaped(unsafe: re.Match[str]) -> str:
    return unsafe[0].encode("unicode_escape").decode("ascii")


class _Timestamps:
    """Formats timestamps. Many records share a second, so its text is cached."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def of(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).isoformat()[:-6]
            self._second = second
        return f"{self._text}.{int((created - second) * 1000):03d}Z"


class _TextFormatter(logging.Formatter):
    """Writes one line per record, followed by the indented lines of its traceback."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = _Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        of, rest = self._timestamps.of, f" {record.levelname:<7} {record.name}: "
        if isinstance(record, ToldLines):
            return "\n".join([f"{of(at)}{rest}{record.text(told)}" for at, told in record.each])
        head = of(record.created) + rest
        if isinstance(record, ToldRecord):
            return head + record.getMessage()
        lines = [head + one_line(record.getMessage())]
        for more in (record.exc_text, record.stack_info):
            lines += (f"  | {one_line(line)}" for line in (more or "").split("\n") if line)
        return "\n".join(lines)


class _JsonFormatter(logging.Formatter):
    """One JSON object per line, in ASCII."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = _Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record, ToldLines):
            return "\n".join([self._told(record, at, told) for at, told in record.each])
        if isinstance(record, ToldRecord):
            return self._told(record, record.created, record.told)
        line = self._head(record, record.created)
        line["message"] = record.getMessage()
        if record.exc_text:  # already formatted by the filter
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return _ascii(line)

    def _told(self, record: logging.LogRecord, at: float, told: Told) -> str:
        line = self._head(record, at)
        line |= told.fields()
        quick = orjson.dumps(line)
        if quick.isascii() and b"\x7f" not in quick:  # true for most records
            return quick.decode()
        return _ascii(line)

    def _head(self, record: logging.LogRecord, at: float) -> dict[str, object]:
        return {
            "time": self._timestamps.of(at),
            "level": record.levelname,
            "logger": record.name,
        }


def _ascii(line: dict[str, object]) -> str:
    return json.dumps(line).replace("\x7f", "\\u007f")


def configure(level: str, form: str, secrets: Iterable[Secret], stream: TextIO) -> Redactor:
    """Make a redacting handler on `stream` the only log handler of the process.

    `form` is "text" or "json". Call this after all libraries are imported: huggingface_hub adds
    a handler at import, which would bypass the filter and is removed here.

    Returns the redactor, which can learn more secrets later.
    """
    handler = logging.StreamHandler(stream)
    redactor = Redactor(secrets)
    handler.addFilter(RedactionFilter(redactor))
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    # No format shows these, so `logging` need not look them up for each record.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _VERBOSE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    return redactor
