"""RunPod's size limits, in bytes of JSON as the SDK writes it. No I/O.

RunPod answers a larger post with 400. The SDK only logs that, and the job never ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable

MOST_STREAMED = 1_000_000  # for one post of a stream
_MOST_SYNCHRONOUS = 20_000_000
_MOST = 10_000_000
# The prefix of a job's id: the only sign of `/runsync` that reaches a worker.
_SYNCHRONOUS = "sync-"

_AROUND = len('{"output": []}')
_BETWEEN = len(", ")
# The most bytes by which a number with an exponent grows: 1e15 becomes 1000000000000000.0.
_EXPONENT = 14
_AT_ONCE = 2000  # values to write without a pause: about a millisecond


def result_limit(job_id: object) -> int:
    """The limit for the result of this job. If unknown, the smaller one."""
    synchronous = isinstance(job_id, str) and job_id.startswith(_SYNCHRONOUS)
    return _MOST_SYNCHRONOUS if synchronous else _MOST


def text_size(text: str) -> int:
    """The size of a string as JSON, in bytes."""
    return len(json.dumps(text, ensure_ascii=False).encode(errors="replace"))


async def size(value: object) -> int:
    """The size of any JSON value, in bytes. The event loop is not blocked meanwhile."""
    written = 0
    for number, part in enumerate(json.JSONEncoder(ensure_ascii=False).iterencode(value)):
        written += len(part.encode(errors="replace"))
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
    return written


def result_size(outputs: Iterable[int]) -> int:
    """The size of the post with a job's result, from the sizes of its outputs."""
    sizes = list(outputs)
    return _AROUND + sum(sizes) + _BETWEEN * max(0, len(sizes) - 1)


class Count:
    """Counts the bytes of an answer's JSON as it arrives, and the most that the SDK may post.

    The SDK writes a space after each comma and colon, and numbers as Python does. Nothing else
    gets longer.
    """

    __slots__ = ("at_most", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.at_most = 0

    def add(self, piece: bytes) -> None:
        self.sent += len(piece)
        spaces = piece.count(b",") + piece.count(b":")
        exponents = piece.count(b"e") + piece.count(b"E")
        self.at_most += len(piece) + spaces + _EXPONENT * exponents
