"""Cheap log records for values of the router's own that contain no secret."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

# The attributes that other libraries' formatters may read.
_BLANK = logging.LogRecord("", 0, "", 0, "", None, None).__dict__


class Told(Protocol):
    """The subject of a record. In JSON, its fields replace the text."""

    def fields(self) -> Mapping[str, object]: ...


T = TypeVar("T", bound=Told)


class ToldRecord(logging.LogRecord):
    """A log record about `told`. `getMessage` returns the text of that value.

    The code that makes the record guarantees that neither its text nor its fields contain a
    secret or could forge a line. They are shown as they are, and the filter skips them. The
    record does not look up its source location: no format shows it, and the lookup would cost
    more than the record.
    """

    def __init__(self, name: str, level: int, told: Told) -> None:
        self.__dict__.update(_BLANK)  # the constructor would cost ten times as much
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.told = self.msg = told
        self.created = time.time()
        self.msecs = self.created % 1 * 1000

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        return str(self.told)


class ToldLines(ToldRecord, Generic[T]):
    """A log record about several values, one line each. This costs a third of separate
    records."""

    def __init__(
        self, name: str, level: int, each: Sequence[tuple[float, T]], text: Callable[[T], str]
    ) -> None:
        """`each` holds pairs of a time (seconds since 1970) and a value. `text` formats one."""
        super().__init__(name, level, each[-1][1])
        self.each, self.text = each, text

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        return "\n".join([self.text(told) for _, told in self.each])
