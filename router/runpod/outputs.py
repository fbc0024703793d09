"""What a job's answer looks like to RunPod: pure, from the service's parts."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from router.errors import InternalError, RouterError
from router.requests.error_body import envelope, split_events, sse_error
from router.requests.response import Body, Head, Progress

# A stream chunk may have 1 MB as JSON, in which a quote is two bytes and nothing of an
# event is more.
MOST = 480_000  # bytes

Output = str | dict[str, object] | list[object]


class JobReply:
    """Takes the parts in; gives out what is to be yielded to the SDK.

    A job that fails before anything was yielded fails as a whole: `{"error": "<envelope>"}`,
    a string, as of an object RunPod's caller would see Python's repr. After that an error
    is an event, then `[DONE]`.
    """

    def __init__(self) -> None:
        self.begun = False  # something was yielded
        self._head: Head | None = None
        self._content = b""

    @property
    def answering(self) -> bool:
        """Whether the answer itself has begun: no more progress after that."""
        return self._head is not None

    def comment(self, progress: Progress) -> str:
        """For those who wait for a stream: an SSE comment."""
        self.begun = True
        return f": {progress}\n\n"

    def take(self, part: Head | Body) -> None:
        if isinstance(part, Head):
            self._head = part
        else:
            self._content += part.data

    def ready(self) -> Iterator[Output]:
        """What can be yielded already: whole events, in chunks that RunPod takes."""
        if self._streams:
            events, self._content = split_events(self._content)
            yield from self._chunks(events)

    def end(self) -> Iterator[Output]:
        """The rest, once the answer is complete."""
        if self._head is None:
            yield from self.failure(InternalError("The request ended without an answer."))
        elif self._streams:
            yield from self._chunks(self._content)
        elif self._head.status >= 400:
            yield self._failed(self._content)
        else:
            yield _object(self._content)

    def failure(self, error: RouterError) -> Iterator[Output]:
        """How the job is told of an error, at whatever point.

        Half an event that came before it is dropped: clients would trip over it.
        """
        if not self.begun:
            yield self._failed(envelope(error))
            return
        yield from self.ready()
        yield sse_error(error).decode()

    @property
    def _streams(self) -> bool:
        if self._head is None or self._head.status >= 400:
            return False
        headers = {name.lower(): value for name, value in self._head.headers.items()}
        return headers.get("content-type", "").startswith("text/event-stream")

    def _failed(self, content: bytes) -> Output:
        text = content.decode(errors="replace")
        if self.begun:
            return f"data: {text}\n\ndata: [DONE]\n\n"
        return {"error": text}

    def _chunks(self, events: bytes) -> Iterator[str]:
        while events:
            size = len(events) if len(events) <= MOST else _cut(events)
            self.begun = True
            yield events[:size].decode(errors="replace")
            events = events[size:]


def _cut(events: bytes) -> int:
    """Where to cut what is too long: between events, or else between characters."""
    whole, _ = split_events(events[:MOST])
    if whole:
        return len(whole)
    end = MOST
    while events[end] & 0b1100_0000 == 0b1000_0000:  # inside a character
        end -= 1
    return end


def _object(content: bytes) -> Output:
    try:
        answer: Output = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content.decode(errors="replace")
    return answer
