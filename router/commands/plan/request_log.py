"""Reads a request log: the worker's log in JSON lines, or an answer of `/admin/activity`.

It reads the input once and keeps three numbers for each request. It counts and names lines that
it can't read, and skips lines that are not about a request.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf
from typing import Any, BinaryIO

LONGEST_LINE = 4 << 20  # bytes; no line of the log is longer
LARGEST_EXPORT = 256 << 20  # bytes of an activity export, which is one document
_NAMED = 5  # bad lines to name; the others are only counted
_LONGEST_NAME = 300
_MOST = 1e12  # the largest valid number
_GZIP = b"\x1f\x8b"  # the magic number of a gzip file


@dataclass(slots=True)
class ModelUse:
    """The use of one model. `loads`: seconds that each cold request waited for it."""

    requests: int = 0
    cold: int = 0
    loads: list[float] = field(default_factory=list)


@dataclass(slots=True)
class RequestLog:
    """Parallel arrays: when each request began, its model, and the seconds of its answer.

    `latest`: seconds since 1970; a later request comes from a wrong clock.
    """

    latest: float = inf
    names: list[str] = field(default_factory=list)
    uses: list[ModelUse] = field(default_factory=list)
    at: array[float] = field(default_factory=lambda: array("d"))
    model: array[int] = field(default_factory=lambda: array("l"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    lines: int = 0
    entries: int | None = None  # of an activity export
    others: int = 0  # lines that are not about a request for a model
    bad: int = 0
    named: list[str] = field(default_factory=list)  # some of the bad lines, and why
    _numbers: dict[str, int] = field(default_factory=dict)  # by name

    def add(self, record: dict[str, Any]) -> None:
        """Add a line. Raises `ValueError` if it is about a request but damaged."""
        name = record.get("model")
        if "outcome" not in record or not name:
            self.others += 1
            return
        if not isinstance(name, str) or len(name) > _LONGEST_NAME:
            raise ValueError("model is not a name")
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError("model is not text")
        at = _number(record, "began")
        if at > self.latest:
            raise ValueError("began is in the future")
        queue, load = _number(record, "queue_ms") / 1000, _number(record, "load_ms") / 1000
        total = _number(record, "total_ms") / 1000
        number = self._number_of(name)
        use = self.uses[number]
        use.requests += 1
        if record.get("temperature") == "cold":
            use.cold += 1
            if load:
                use.loads.append(load)
        self.at.append(at)
        self.model.append(number)
        self.seconds.append(max(0.0, total - queue - load))

    def refuse(self, why: str) -> None:
        self.bad += 1
        if len(self.named) < _NAMED:
            self.named.append(why)

    def _number_of(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.names)
            self.names.append(name)
            self.uses.append(ModelUse())
        return number


def read_log(file: BinaryIO, latest: float = inf) -> RequestLog:
    """Read a log. Raises `OSError`, or `ValueError` for a compressed file."""
    log = RequestLog(latest)
    for number, line in enumerate(_lines(file), 1):
        log.lines += 1
        if number == 1 and line.startswith(_GZIP):
            raise ValueError(
                "it is compressed; this reads it: `gunzip -c FILE | model-router plan -`"
            )
        if number == 1 and (records := _export(line, file)) is not None:
            log.entries = len(records)
            for place, record in enumerate(records, 1):
                _take(log, record, f"entry {place}")
            return log
        if not line.strip():
            continue
        if len(line) > LONGEST_LINE:
            log.refuse(f"line {number}: longer than {LONGEST_LINE:,} bytes")
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            log.refuse(f"line {number}: not JSON")
            continue
        _take(log, record, f"line {number}")
    return log


def _take(log: RequestLog, record: object, where: str) -> None:
    if not isinstance(record, dict):
        log.refuse(f"{where}: not a JSON object")
        return
    try:
        log.add(record)
    except ValueError as error:
        log.refuse(f"{where}: {error}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines. A line that is too long is cut."""
    while line := file.readline(LONGEST_LINE + 1):
        rest = line
        while len(rest) > LONGEST_LINE and not rest.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
        yield line


def _export(first: bytes, file: BinaryIO) -> list[object] | None:
    """The requests of an activity export, on one line or many; None for a log in lines."""
    many = first.strip() == b"{"
    try:
        document = json.loads(first + file.read(LARGEST_EXPORT) if many else first)
    except (ValueError, RecursionError):
        return [None] if many else None
    ended = document.get("ended") if isinstance(document, dict) else None
    return ended if isinstance(ended, list) else None


def _number(record: dict[str, Any], name: str) -> float:
    value = record.get(name)
    if value is None and name != "began":
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is not a number")  # noqa: TRY004  as for any damaged line
    if not 0 <= value <= _MOST:  # false for NaN
        raise ValueError(f"{name} is out of range")
    return float(value)
