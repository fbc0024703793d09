"""Log formats, and the one handler of the process, which redacts.

Callers, repositories and engines have a say in what is logged. A record is one line all the
same, in which nothing is hidden (`one_line`).
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

# What could forge a line, or change how one is shown: control characters (C0 without the tab,
# C1), separators of lines, marks that hide or turn text around, and halves of characters.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff0-\ufffb\U000e0000-\U000e0fff]"
)


def one_line(text: str) -> str:
    """The text as it can stand in a log: in one line, which shows all that is in it."""
    if text.isascii() and text.isprintable():  # most are, and this is quick to see
        return text
    return _UNSAFE.sub(_escaped, text)


def _escaped(unsafe: re.Match[str]) -> str:
    return unsafe[0].encode("unicode_escape").decode("ascii")


class _Timestamps:
    """The times of records as text. Many are of the same second."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def of(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._text = datetime.fromtimestamp(second, UTC).isoformat()[:-6]
            self._second = second
        return f"{self._text}.{int((created - second) * 1000):03d}Z"


class _TextFormatter(logging.Formatter):
    """One line a record. The lines of a traceback follow, set off from all records."""

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
        if record.exc_text:  # the filter has formatted it
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return _ascii(line)

    def _told(self, record: logging.LogRecord, at: float, told: Told) -> str:
        line = self._head(record, at)
        line |= told.fields()
        quick = orjson.dumps(line)
        if quick.isascii() and b"\x7f" not in quick:  # as a rule
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

    `form` is "text" or "json". Call it after all libraries are imported: huggingface_hub
    adds a handler of its own at import, which would bypass the filter and is removed here.

    Returns what redacts, which may learn more secrets.
    """
    handler = logging.StreamHandler(stream)
    redactor = Redactor(secrets)
    handler.addFilter(RedactionFilter(redactor))
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    # What no format shows need not be found out for each record.
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
