"""Callers that do not read, with small buffers, do not keep an engine's place for long."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.e2e.caller import CHAT, Caller, chat
from tests.e2e.harness import ENDLESS, Harness
from tests.eventually import eventually
from tests.worker import Worker

PLACES = 2
# More than the kernel buffers for a caller.
LONG = {"answer": "x" * 1000, "tokens": 12_000}


@pytest.fixture(scope="module")
def worker(harness: Harness) -> Iterator[Worker]:
    with harness.worker(MAX_CONCURRENCY=str(PLACES), READ_TIMEOUT="1") as worker:
        yield worker


def ask(worker: Worker, body: object) -> socket.socket:
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    address = urlsplit(worker.url)
    caller.connect((address.hostname, address.port))
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    caller.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return caller


@pytest.mark.parametrize("stream", [True, False])
async def test_callers_that_do_not_read_leave_their_places_to_others(
    harness: Harness, worker: Worker, caller: Caller, stream: bool
) -> None:
    model = harness.model(f"acme/talks-{stream}".lower(), **(ENDLESS if stream else LONG))
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(ask(worker, chat(model, stream=stream)))
        await eventually(lambda: len(harness.journal.events("request", model)) == PLACES)
        async with caller.stream(model) as other:
            assert other.status == 200
    if stream:
        await eventually(lambda: len(harness.journal.events("cancelled", model)) > PLACES)
    told = f"POST {CHAT} not_read "
    await eventually(lambda: sum(told in line for line in worker.lines) >= PLACES)
