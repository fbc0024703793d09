"""A journal of the pool's events that can be replayed, to turn an incident into a test.

A journal is a text file of JSON lines. Each run of the worker adds its limits, its knowledge of
earlier runs, and then one `[time, event]` per line. The scheduler is deterministic, so the same
events lead to the same decisions. A journal contains no secret: it has only the first
characters of the keyed digests of tokens and callers.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TextIO

from router import errors
from router.scheduler import actions, events
from router.scheduler.history import Fact, History
from router.scheduler.limits import Limits
from router.scheduler.machine import Scheduler

_log = logging.getLogger(__name__)

_EARLIER = "earlier"


class Journal:
    """Writes each event before the scheduler handles it. `earlier`: the initial history."""

    def __init__(self, stream: TextIO, limits: Limits, earlier: Sequence[Fact] = ()) -> None:
        self._stream = stream
        self._broken = False
        self._write(_plain(limits))
        if earlier:
            self._write({_EARLIER: [_plain(fact) for fact in earlier]})

    def __call__(self, now: float, event: events.Event) -> None:
        self._write([now, {type(event).__name__: _plain(events.abridged(event))}])

    def _write(self, line: object) -> None:
        if self._broken:
            return
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()  # the last lines before a crash matter most
        except OSError as error:  # a full disk must not stop the pool
            self._broken = True
            _log.error("the pool's journal ends here: %s", error)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One event of a replay, and the resulting actions."""

    now: float
    event: events.Event
    actions: list[actions.Action]


def replay(lines: Iterable[str]) -> Iterator[Step]:
    """Replay a journal with a new scheduler. Raises `ValueError` for invalid text, and for a
    journal of another version of the router."""
    scheduler: Scheduler | None = None
    history = History()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            # A worker that was killed may leave an incomplete last line.
            raise ValueError(f"line {number} is not a whole line of JSON") from None
        try:
            made = _read(row)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"line {number} is not of this version of the router "
                f"({type(error).__name__}: {error})"
            ) from None
        if isinstance(made, Limits):
            history = History()
            scheduler = Scheduler(made, history)
        elif isinstance(made, list):
            for fact in made:
                history.learn(fact)
        elif scheduler is None:
            raise ValueError("a journal begins with the pool's limits")
        else:
            now, event = made
            yield Step(now, event, scheduler.handle(event, now))


def _read(row: typing.Any) -> Limits | list[Fact] | tuple[float, events.Event]:  # noqa: ANN401  JSON
    if isinstance(row, dict) and _EARLIER in row:
        return [_built(Fact, fact) for fact in row[_EARLIER]]
    if isinstance(row, dict):
        return typing.cast("Limits", _built(Limits, row))
    now, ((name, fields),) = float(row[0]), row[1].items()
    kinds = {kind.__name__: kind for kind in typing.get_args(events.Event)}
    return now, _built(kinds[name], fields)


def _plain(value: object) -> object:
    if (names := _fields(type(value))) is not None:
        return {name: _plain(getattr(value, name)) for name in names}
    if isinstance(value, errors.RouterError):
        return {"code": value.code, "message": value.message, "retry_after": value.retry_after}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path | Enum):
        return str(value)
    return value


def _built(kind: typing.Any, value: typing.Any) -> typing.Any:  # noqa: ANN401  any of the fields' types
    """The inverse of `_plain`, for a value of type `kind`."""
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        (kind,) = (one for one in typing.get_args(kind) if one is not types.NoneType)
    if _is_built(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _built(hints[name], value[name]) for name in value})
    if kind is errors.RouterError:
        return _error(value)
    if typing.get_origin(kind) is tuple:
        (of, *_) = typing.get_args(kind)
        return tuple(_built(of, one) if _is_built(of) else one for one in value)
    return kind(value)


def _is_built(kind: typing.Any) -> bool:  # noqa: ANN401  any of the fields' types
    return isinstance(kind, type) and _fields(kind) is not None


def _fields(kind: type) -> Sequence[str] | None:
    """The names of the fields of a value class; None for any other class."""
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.init]
    named: Sequence[str] | None = getattr(kind, "_fields", None)  # of a NamedTuple
    return named


def _error(fields: dict[str, typing.Any]) -> errors.RouterError:
    kinds = [errors.RouterError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if getattr(kind, "code", None) == fields["code"]:
            error = kind(fields["message"])
            error.retry_after = fields["retry_after"]
            return error
    raise ValueError(f"no error has the code {fields['code']}")
