"""A replica's answers to the requests of ingresses, with flow control."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

from router.access.keyring import Keyring
from router.errors import InternalError, RouterError
from router.ray.messages import (
    AnswerEnd,
    AnswerHead,
    Errand,
    Item,
    Refused,
    is_comment,
    joined,
)
from router.ray.orphans import Orphans
from router.ray.window import SendWindow, SendWindows
from router.requests.dialects import Problem
from router.requests.interfaces import Backend
from router.requests.record import Record
from router.requests.recorder import Recorder
from router.requests.request import Request
from router.side_process import pieces

_log = logging.getLogger("router.ray")


class Answers:
    """Answers requests with `service`, which authorizes each request again: a replica does not
    rely on the ingress for that."""

    def __init__(self, service: Backend, keys: Keyring, recorder: Recorder) -> None:
        self._service, self._keys, self._recorder = service, keys, recorder
        self._orphans, self._windows = Orphans(), SendWindows()

    async def to(self, errand: Errand, body: Sequence[bytes]) -> AsyncGenerator[Item]:
        """Answer one request. Never raises, because Ray would log the traceback."""
        record = self._recorder.open(
            errand.route, request_id=errand.request_id, trace=errand.trace
        )
        try:
            with (
                self._orphans.working_for(errand.ingress),
                self._windows.open(errand.answer) as window,
            ):
                async for item in self._answer(errand, body, record, window):
                    yield item
        except RouterError as error:
            problem = Problem.of(error)
            record.refuse(error.code, problem.status)
            yield self._refused(problem)
        except Exception:  # noqa: BLE001 - the ingress gets an error for any defect
            _log.exception("a defect of the router")
            told = InternalError("The router failed on this request. Its log says why.")
            record.refuse(told.code, told.status)
            yield Refused(Problem.of(told))
        finally:
            self._recorder.close(record)

    def visited(self, ingress: str, read: Mapping[str, int]) -> None:
        """Note that an ingress is alive, and how much of each answer it has read."""
        self._orphans.hear(ingress)
        for answer, taken in read.items():
            self._windows.took(answer, taken)

    def took(self, answer: str, taken: int) -> None:
        """Note how much of an answer was read, so that more may be sent."""
        self._windows.took(answer, taken)

    def end_orphans(self) -> None:
        """End the requests of ingresses that are gone. Call it every second."""
        if ended := self._orphans.look():
            _log.warning("an ingress is gone: ended its %d requests", ended)

    async def _answer(
        self, errand: Errand, body: Sequence[bytes], record: Record, window: SendWindow
    ) -> AsyncIterator[Item]:
        caller = self._keys.labelled(errand.caller)
        record.is_from(caller, self._keys.name(caller))
        request = Request(errand.route, joined(body), errand.hf_token, caller, record)
        async with self._service.open(request) as response:
            if response.failure is None:
                yield AnswerHead(response.status, dict(response.headers), response.streams)
            refusal, begun = None, False
            async for data in response:
                if response.failure is not None and not begun:
                    # The ingress can report it in its dialect, or try another replica.
                    refusal = response.failure
                    break
                begun = begun or not is_comment(data)
                for piece in map(bytes, pieces(data)):
                    await window.room(piece)
                    yield piece
            record.answer(response.status, response.failure, streams=response.streams)
            yield AnswerEnd() if refusal is None else self._refused(refusal)

    def _refused(self, problem: Problem) -> Refused:
        return Refused(problem, leaving=self._service.health().leaving)
