"""The job handler that the SDK calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from router.errors import InternalError, RouterError
from router.requests.dialects import Problem
from router.requests.interfaces import Backend
from router.requests.model_list import model_list, model_object
from router.requests.outcomes import Outcome
from router.requests.record import Record, Transport
from router.requests.recorder import NO_ROUTE, Recorder, known_route
from router.requests.request import Request
from router.requests.routes import dialect_of
from router.runpod.answer import Answer
from router.runpod.inputs import ListModels, read, route_of
from router.runpod.limits import result_limit
from router.runpod.outputs import Output, failed, streamed
from router.runpod.progress import ProgressPosts
from router.runpod.result import StreamedResult, WholeResult

_log = logging.getLogger("router.runpod")

Job = MutableMapping[str, Any]
PostProgress = Callable[[Job, dict[str, object]], Awaitable[None]]


class Jobs:
    """Handles jobs with `service`.

    `post` posts a job's progress. An answer waits at most `patience` seconds for the last post.
    `recorder` records each job.
    """

    def __init__(
        self,
        service: Backend,
        post: PostProgress,
        patience: float = 10.0,
        recorder: Recorder | None = None,
    ) -> None:
        self._service, self._post, self._patience = service, post, patience
        self._recorder = recorder or Recorder()
        self._closing: set[asyncio.Task[None]] = set()
        self._whole: set[object] = set()  # ids of jobs whose answer is not a stream

    def handle(self, job: Job) -> AsyncGenerator[Output, None]:
        """The handler: yields the outputs for the SDK to post. Raises only `CancelledError`.

        The generator is closed when the current task, the SDK's for this job, ends. A stop
        signal usually comes while a chunk is being posted. The SDK then leaves the generator
        suspended at a `yield`; closing it ends the generation and the lease at once.
        """
        outputs = self._handle(job)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the SDK runs each job in a task
        task.add_done_callback(lambda ended: self._close(ended, outputs))
        task.add_done_callback(lambda _: self._whole.discard(job.get("id")))
        return outputs

    def streams(self, job: Job) -> bool:
        """Whether the job's outputs are parts of a stream, and not the whole answer."""
        return job.get("id") not in self._whole

    async def closed(self) -> None:
        """Wait until all jobs that have ended for the SDK have released their resources."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _close(self, ended: asyncio.Task[Any], outputs: AsyncGenerator[Output, None]) -> None:
        # The SDK keeps its last task. Until its exception is read, a canceled task holds all
        # frames that the error went through, and some of them hold a token.
        with suppress(asyncio.CancelledError):
            ended.exception()

        async def close() -> None:
            await outputs.aclose()

        closing = asyncio.get_running_loop().create_task(close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _handle(self, job: Job) -> AsyncGenerator[Output, None]:
        record, route = self._open_record(job), ""
        try:
            route = route_of(job.get("input"))
            record.route = known_route(route)
            # Removed from the job, because the SDK keeps its last jobs until others come.
            order = read(job.pop("input", None))
            if isinstance(order, ListModels):
                models = await self._models(order)
                self._whole.add(job.get("id"))
                record.end(Outcome.OK, status=200)
                yield models
                return
            route = order.route  # a bare body does not name a route
            record.route = known_route(route)
            async with aclosing(self._outputs(job, replace(order, record=record))) as outputs:
                async for output in outputs:
                    yield output
            record.end(Outcome.OK, status=200)
        except RouterError as error:
            record.refuse(error.code, error.status)
            yield failed(dialect_of(route).body(Problem.of(error)))
        except Exception:  # noqa: BLE001 - an exception would reach the caller, with its traceback
            _log.exception("a defect of the router")
            defect = InternalError("The router failed on this job. Its log says why.")
            record.refuse(defect.code, defect.status)
            yield failed(dialect_of(route).body(Problem.of(defect)))
        finally:
            self._recorder.close(record)

    def _open_record(self, job: Job) -> Record:
        given = job.get("id")
        return self._recorder.open(
            NO_ROUTE,
            method="JOB",
            transport=Transport.JOB,
            request_id=given if isinstance(given, str) else "",
        )

    async def _models(self, order: ListModels) -> Output:
        if order.name:
            return model_object(await self._service.model(order.name, order.hf_token))
        return model_list(await self._service.models(order.hf_token))

    async def _outputs(self, job: Job, request: Request) -> AsyncGenerator[Output, None]:
        """The outputs of one request. Raises `RouterError` if it fails before a result."""
        limit = result_limit(job.get("id"))
        async with (
            ProgressPosts(partial(self._post, job), self._patience) as progress,
            Answer(self._service.open(request, progress.report)) as answer,
        ):
            whole, stream = WholeResult(limit, request.route), StreamedResult(limit)
            events = bytearray()
            async for piece in answer:
                if not answer.response.streams:
                    whole.add(piece)
                    continue
                events += piece
                # Each yield is a separate post, so yield everything that has arrived.
                if not (answer.has_more or answer.fails):
                    for chunk in streamed(bytes(events)):
                        stream.add(chunk)
                        yield chunk
                    events = bytearray()
            await progress.settled()
            response = answer.response
            if (problem := response.failure) is not None:
                record = request.record
                record.answer(response.status, problem, streams=response.streams)
            if response.status >= 400:
                yield whole.refusal()
            elif response.failure is not None and not stream.begun:
                yield failed(dialect_of(request.route).body(response.failure))
            elif response.streams:
                for chunk in streamed(bytes(events)):
                    stream.add(chunk)
                    yield chunk
                stream.check()
            else:
                output = await whole.output()
                self._whole.add(job.get("id"))
                yield output
