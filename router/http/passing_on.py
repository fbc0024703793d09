"""Sends a response of the service to the caller as it arrives."""

from __future__ import annotations

from router.errors import RouterError
from router.http.http_request import HttpRequest
from router.http.writing import AnswerWriter
from router.requests.interfaces import Response


async def pass_on(response: Response, request: HttpRequest) -> None:
    """Raises `RouterError` before the head is sent, and `ConnectionError` if the answer breaks
    off after that."""
    writer = AnswerWriter(request, response.status, response.headers)
    if response.streams:
        writer.begin_soon()
    try:
        await response.send(writer)
    except Exception as error:
        writer.forgo()
        if not (request.status and isinstance(error, RouterError)):
            raise
        # The head is already sent, so the only way to show the failure is to cut the answer
        # off.
        request.record.break_off(error.code)
        raise ConnectionResetError(f"the answer broke off: {error.code}") from None
    writer.end()
    request.record.answer(response.status, response.failure, streams=response.streams)
