"""Writes one log line per finished request."""

from __future__ import annotations

import asyncio
import logging
import time

from router.requests.record import Record
from router.told import ToldLines

WITHIN = 0.01  # seconds for which a line waits to be written together with others


class LineWriter:
    """Logs finished requests. Lines that follow each other closely share one log record and one
    write."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._ended: list[tuple[float, Record]] = []

    def tell(self, record: Record) -> None:
        if not self._log.isEnabledFor(logging.INFO):
            return
        self._ended.append((time.time(), record))
        if len(self._ended) > 1:
            return
        try:
            asyncio.get_running_loop().call_later(WITHIN, self.flush)
        except RuntimeError:  # without a running loop, no timer fires
            self.flush()

    def flush(self) -> None:
        """Write the pending lines."""
        ended, self._ended = self._ended, []
        if ended:
            self._log.handle(ToldLines(self._log.name, logging.INFO, ended, line))

    def whisper(self, record: Record) -> None:
        """Log the request at DEBUG and immediately, because few operators need it."""
        if self._log.isEnabledFor(logging.DEBUG):
            ended = [(time.time(), record)]
            self._log.handle(ToldLines(self._log.name, logging.DEBUG, ended, line))


def line(record: Record) -> str:
    """Format the request as text. Optimized, because this runs for each request."""
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
