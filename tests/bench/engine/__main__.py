"""`entry.py FILES sglang.launch_server FLAGS...`: serve canned answers until SIGINT or SIGTERM.

A former router, and the old shape, start it as `-m sglang.launch_server FLAGS...`. Then it
binds its port itself and needs no key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from engines.entry import inherited
from tests.bench import nginx
from tests.bench.engine import IDLE, INTERVAL, STREAMS

_HEAD_END = b"\r\n\r\n"
_PIECE = {
    "id": "0123456789abcdef0123456789abcdef",
    "object": "chat.completion.chunk",
    "created": 1_700_000_000,
    "model": "bench/model",
    "choices": [
        {
            "index": 0,
            "delta": {"role": None, "content": " word", "tool_calls": None},
            "logprobs": None,
            "finish_reason": None,
        }
    ],
    "usage": None,
}
_WHOLE = {
    "id": "0123456789abcdef0123456789abcdef",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "bench/model",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there.", "tool_calls": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 9, "total_tokens": 12, "completion_tokens": 3},
}


def _whole(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + _HEAD_END + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_ANSWER = _whole(_WHOLE)
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_REFUSAL = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0" + _HEAD_END
_EVENT = _chunk(b"data: " + json.dumps(_PIECE).encode() + b"\n\n")
_LAST = _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
_MOST = re.compile(rb'"max_tokens":(\d+)')


class Steps:
    """The steps of an engine: each makes one event for all streams, one after another.

    If each stream had its own clock, a product that opens streams slowly would get fewer events
    at a time. It would then also pay for more wake-ups, its own and its callers'.
    """

    def __init__(self) -> None:
        self.streams: dict[Connection, None] = {}
        self._loop = asyncio.get_running_loop()
        self._step()

    def _step(self) -> None:
        for stream in tuple(self.streams):
            stream.tell()
        self._loop.call_later(INTERVAL, self._step)


class Connection(asyncio.Protocol):
    """The requests of one client, one after another."""

    def __init__(self, model_path: str, key: str, steps: Steps) -> None:
        self._key = f"Bearer {key}".encode() if key else b""
        self._info = _whole({"model_path": model_path})
        self._steps = steps
        self._buffer = b""
        self._left = 0  # events left in the stream; negative: endless

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, blank, body = self._buffer.partition(_HEAD_END)
        if not blank or len(body) < _length(head):
            return
        self._buffer = b""
        if self._key not in head:
            self._transport.write(_REFUSAL)
        elif head.startswith(b"GET /model_info "):
            self._transport.write(self._info)
        elif b'"stream":true' in body:
            self._transport.write(_STREAM_HEAD)
            most = _MOST.search(body)
            self._left = int(most[1]) if most else -1
            if IDLE.encode() not in body:
                self._steps.streams[self] = None
            self.tell()
        else:
            self._transport.write(_ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._steps.streams.pop(self, None)

    def tell(self) -> None:
        """Send the stream's next event, or its end."""
        if not self._left:
            self._steps.streams.pop(self, None)
            self._transport.write(_LAST)
            return
        self._left -= 1
        self._transport.write(_EVENT)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(listener: socket.socket, key: str, model_path: str) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        partial(Connection, model_path, key, Steps()), sock=listener, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    *_, files, module = sys.argv[1 : sys.argv.index("sglang.launch_server") + 1]
    parser = argparse.ArgumentParser("launch_server", allow_abbrev=False)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    args, _ = parser.parse_known_args(sys.argv[sys.argv.index(module) :])
    if files == "-m":
        listener, key = socket.create_server((args.host, args.port)), ""
    else:
        listener, key = inherited(*map(int, files.split(",")[:2]))
    if STREAMS not in args.model_path and nginx.find() is not None:
        listener.listen(1024)
        directory, info = Path(tempfile.mkdtemp()), json.dumps({"model_path": args.model_path})
        port = listener.getsockname()[1]
        answer = json.dumps(_WHOLE)
        nginx.serve_on(listener, nginx.canned(directory, port, key, info, answer))
    try:
        uvloop.run(serve(listener, key, args.model_path))
    except KeyboardInterrupt:  # the router ends an idle engine with SIGINT
        return


if __name__ == "__main__":
    main()
