"""Handles every request: records it, applies faults, and formats refusals."""

from __future__ import annotations

import asyncio
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.loopback_hub.access import Accounts, Refusal, over_the_limit
from tests.loopback_hub.faults import OF_BODIES, Fault, Faults
from tests.loopback_hub.journal import Request

_SLOWLY, _PIECES = 20.0, 80  # the duration of a slow body, and its number of pieces

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Exchange:
    """The middleware of both servers."""

    def __init__(self, accounts: Accounts, faults: Faults, journal: list[Request]) -> None:
        self._accounts = accounts
        self._faults = faults
        self._journal = journal

    def application(self) -> web.Application:
        async def run(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._run(request, handler)

        return web.Application(middlewares=[web.middleware(run)])

    async def _run(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        note = Request(request.method, request.path, self._account(request), request.host)
        self._journal.append(note)
        fault = self._faults.strike(request.method, request.path)
        if fault is not None and fault.kind == "hang":
            await asyncio.shield(asyncio.wrap_future(fault.cleared))
        if fault is not None and fault.kind == "reset":
            return _reset(request)
        answer = await _answer(request, handler, fault)
        if fault is not None and fault.kind in OF_BODIES:
            return await _send_badly(request, answer, fault)
        note.status = answer.status
        return answer

    def _account(self, request: web.Request) -> str | None:
        try:
            caller = self._accounts.caller(request.headers.get("Authorization"))
        except Refusal:
            return "invalid"
        return caller.account if caller else None


async def _answer(
    request: web.Request, handler: Handler, fault: Fault | None
) -> web.StreamResponse:
    try:
        if fault is not None and fault.kind.isdecimal():
            raise _trouble(int(fault.kind))
        answer = await handler(request)
    except Refusal as refusal:
        answer = _refuse(refusal)
    except web.HTTPException as unknown:  # no such route: no X-Error-Code, like the Hub
        answer = web.Response(status=unknown.status, text=unknown.text)
    answer.headers["X-Request-Id"] = request.headers.get("X-Amzn-Trace-Id") or str(uuid.uuid4())
    return answer


def _trouble(status: int) -> Refusal:
    if status == 429:
        return over_the_limit()
    return Refusal(status, "The Hub is having trouble")


def _refuse(refusal: Refusal) -> web.Response:
    headers = {**refusal.headers, "X-Error-Message": refusal.message}
    if refusal.code is not None:
        headers["X-Error-Code"] = refusal.code
    return web.json_response({"error": refusal.message}, status=refusal.status, headers=headers)


def _reset(request: web.Request) -> web.Response:
    """Drop the connection with a TCP RST instead of an answer."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response()


async def _send_badly(
    request: web.Request, answer: web.StreamResponse, fault: Fault
) -> web.StreamResponse:
    """Promise the whole body. Then send it slowly, or send half of it and close or wait."""
    body = answer.body if isinstance(answer, web.Response) else b""
    if not isinstance(body, bytes):
        return answer
    sent = web.StreamResponse(status=answer.status, headers=answer.headers)
    sent.content_length = len(body)
    await sent.prepare(request)
    if fault.kind == "slow":
        await _drip(sent, body)
        return sent
    await sent.write(body[: len(body) // 2])
    if fault.kind == "stall":
        await asyncio.shield(asyncio.wrap_future(fault.cleared))
        await sent.write(body[len(body) // 2 :])
    elif request.transport is not None:
        request.transport.close()
    return sent


async def _drip(answer: web.StreamResponse, body: bytes) -> None:
    size = -(-len(body) // _PIECES)
    for start in range(0, len(body), size):
        await answer.write(body[start : start + size])
        await asyncio.sleep(_SLOWLY / _PIECES)
