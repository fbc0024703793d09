"""Log records about a value of ours that holds no secret: cheap ones, for many."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

# What formats of others may ask for.
_BLANK = logging.LogRecord("", 0, "", 0, "", None, None).__dict__


class Told(Protocol):
    """What a record is about. In JSON, its fields replace the text."""

    def fields(self) -> Mapping[str, object]: ...


T = TypeVar("T", bound=Told)


class ToldRecord(logging.LogRecord):
    """A log record about `told`, of which `getMessage` makes the text.

    The maker vouches for both, text and fields: nothing in them is a secret or could forge a
    line. They are shown as they are, and the filter does not look through them again. Nor does
    a record find out where in the source it was made: no format shows that, and it would cost
    more than the record.
    """

    def __init__(self, name: str, level: int, told: Told) -> None:
        self.__dict__.update(_BLANK)  # not by the constructor, which costs ten times that
        self.name, self.levelno, self.levelname = name, level, logging.getLevelName(level)
        self.told = self.msg = told
        self.created = time.time()
        self.msecs = self.created % 1 * 1000

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        return str(self.told)


class ToldLines(ToldRecord, Generic[T]):
    """A log record about several values, which becomes a line for each: one for all costs a
    third."""

    def __init__(
        self, name: str, level: int, each: Sequence[tuple[float, T]], text: Callable[[T], str]
    ) -> None:
        """`each`: the time since 1970, in seconds, and the value. `text` makes the lines."""
        super().__init__(name, level, each[-1][1])
        self.each, self.text = each, text

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        return "\n".join([self.text(told) for _, told in self.each])
