"""The one line of a request that has ended."""

from __future__ import annotations

import logging

from router.requests.record import Record
from router.told import ToldRecord


class RequestLine(ToldRecord):
    """`record` as a log record."""

    told: Record

    def __init__(self, level: int, record: Record) -> None:
        super().__init__("router.requests", level, record)

    def getMessage(self) -> str:  # noqa: N802 - the name of `logging`
        return line(self.told)


def tell(log: logging.Logger, level: int, record: Record) -> None:
    if log.isEnabledFor(level):
        log.handle(RequestLine(level, record))


def line(record: Record) -> str:
    """The request as text. Written out: it is made for each request."""
    end = f"total {record.seconds * 1000:.0f} ms{_more(record)}, id {record.id}"
    if record.first is not None:
        end = f"first {record.first * 1000:.0f} ms, {end}"
    if record.load:
        end = f"load {record.load * 1000:.0f} ms, {end}"
    if record.queue is not None:
        end = f"queue {record.queue * 1000:.0f} ms, {end}"
    if record.temperature:
        end = f"{record.temperature} {end}"
    if record.model:
        end = f"{record.model} {end}"
    if record.status:
        end = f"{record.status} {end}"
    elif record.error != record.outcome and record.error:
        end = f"{record.error} {end}"
    return f"{record.method} {record.route} {record.outcome} {end}"


def _more(record: Record) -> str:
    text, prompt, completion = "", record.prompt_tokens, record.completion_tokens
    if prompt is not None or completion is not None:
        text = f", {_told(prompt)}+{_told(completion)} tokens"
    if record.attempts > 1:
        text += f", {record.attempts} attempts"
    return f"{text}, caller {record.caller}" if record.caller else text


def _told(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
