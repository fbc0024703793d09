"""Collects a job's result and counts its bytes, so that it is never too large for RunPod."""

from __future__ import annotations

from router.errors import AnswerTooLarge
from router.requests.routes import ROUTES
from router.runpod.limits import Count, result_size, size, text_size
from router.runpod.outputs import Output, answered, failed

_EMBEDDINGS = "/v1/embeddings"


class WholeResult:
    """The answer to a job without a stream. `limit` is in bytes of JSON."""

    def __init__(self, limit: int, route: str) -> None:
        self._limit, self._route = limit, route
        self._content, self._count = bytearray(), Count()

    def add(self, piece: bytes) -> None:
        """Add a chunk. Once the answer is too large, only its size is kept."""
        self._count.add(piece)
        if self._count.sent > self._limit:
            self._content = bytearray()
        else:
            self._content += piece

    def refusal(self) -> Output:
        """The output with the engine's own error. Raises `AnswerTooLarge`."""
        return failed(bytes(self._kept()))

    async def output(self) -> Output:
        """The output for the SDK to post. Raises `AnswerTooLarge`."""
        output = answered(bytes(self._kept()))
        # Text that is not JSON may double in size: its quotes get a backslash.
        if isinstance(output, str) or result_size([self._count.at_most]) > self._limit:
            self._check(result_size([await size(output)]))
        return output

    def _kept(self) -> bytearray:
        self._check(result_size([self._count.sent]))
        return self._content

    def _check(self, found: int) -> None:
        if found > self._limit:
            raise AnswerTooLarge(
                f"The answer has {found:,} bytes of JSON; RunPod takes {self._limit:,} as this "
                f"job's result. {_advice(self._route)}"
            )


class StreamedResult:
    """Everything that a job has streamed. The SDK posts all of it again as the result."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sizes: list[int] = []

    @property
    def begun(self) -> bool:
        return bool(self._sizes)

    def add(self, chunk: str) -> None:
        self._sizes.append(text_size(chunk))

    def check(self) -> None:
        """Check the size after the stream has ended. Raises `AnswerTooLarge`."""
        found = result_size(self._sizes)
        if found > self._limit:
            raise AnswerTooLarge(
                f"The stream was posted to its end, but it has {found:,} bytes of JSON, and "
                f"RunPod takes {self._limit:,} as this job's result. Read it as a stream, or "
                "ask for fewer tokens."
            )


def _advice(route: str) -> str:
    if route == _EMBEDDINGS:
        return 'Send fewer inputs in a request, or ask for `"encoding_format": "base64"`.'
    if route in ROUTES and ROUTES[route].streams:
        return 'Ask for less in a request, or for a stream (`"stream": true`).'
    return "Ask for less in a request."
