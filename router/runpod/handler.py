"""RunPod's queue: jobs in, outputs out. What the SDK is given to call.

The SDK (1.12) runs its own event loop, so the worker is opened inside of it, by the first
call of the concurrency modifier; until the default model is settled that says 0, and then a
constant, because any change makes the SDK wait until no job runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Protocol

from router.errors import InternalError, RouterError
from router.requests.error_body import envelope
from router.requests.model_list import model_list, model_object
from router.requests.response import Body, Head, Part, Progress, Request
from router.requests.service import ModelCard
from router.runpod.inputs import ListModels, read
from router.runpod.outputs import JobReply, Output

_log = logging.getLogger("router.runpod")

Job = MutableMapping[str, Any]
Report = Callable[[Job, dict[str, object]], Awaitable[None]]

_SILENCE = 10.0  # seconds that a stream may be silent
_AHEAD = 64  # parts of an answer, of 64 KiB at most, that wait for a slow post


class JobBackend(Protocol):
    """What this transport needs of `router.requests.service`."""

    def answer(self, request: Request) -> AsyncGenerator[Part, None]: ...

    async def models(self, hf_token: str | None, caller: str) -> Sequence[ModelCard]: ...

    async def model(self, name: str, hf_token: str | None, caller: str) -> ModelCard: ...


class Jobs:
    """Handles jobs with `service`. `report` posts a job's progress."""

    def __init__(self, service: JobBackend, report: Report, clock: Callable[[], float]) -> None:
        self._service, self._report, self._clock = service, report, clock
        self._closing: set[asyncio.Task[None]] = set()

    def handle(self, job: Job) -> AsyncGenerator[Output, None]:
        """The handler: yields what the SDK is to post. Never raises but `CancelledError`.

        What it gives is closed when the current task ends, the SDK's for this job. A stop
        signal mostly comes while a chunk is being posted: the generator is then suspended
        at a `yield`, and left so. Closed at once, it ends the generation and the lease.
        """
        outputs = self._handle(job)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the SDK runs each job in a task
        task.add_done_callback(lambda ended: self._close(ended, outputs))
        return outputs

    async def closed(self) -> None:
        """Wait until jobs that the SDK is done with have let go of everything."""
        if self._closing:
            await asyncio.wait(self._closing)

    def _close(self, ended: asyncio.Task[Any], outputs: AsyncGenerator[Output, None]) -> None:
        # The SDK keeps its last task. What cancelled that holds each frame that it went
        # through, and a token in some, until it is asked for.
        with suppress(asyncio.CancelledError):
            ended.exception()

        async def close() -> None:
            await outputs.aclose()

        closing = asyncio.get_running_loop().create_task(close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _handle(self, job: Job) -> AsyncGenerator[Output, None]:
        try:
            # Taken out: the SDK holds on to its last jobs for as long as no other comes.
            order = read(job.pop("input", None))
            if isinstance(order, ListModels):
                yield await self._models(order)
                return
        except RouterError as error:
            yield {"error": envelope(error).decode()}
            return
        except Exception as error:  # noqa: BLE001 - a raised one would reach the caller
            yield {"error": envelope(_unexpected(error)).decode()}
            return
        async with aclosing(self._answer(job, order)) as outputs:
            async for output in outputs:
                yield output

    async def _models(self, order: ListModels) -> Output:
        if order.name:
            return model_object(await self._service.model(order.name, order.hf_token, ""))
        return model_list(await self._service.models(order.hf_token, ""))

    async def _answer(self, job: Job, request: Request) -> AsyncGenerator[Output, None]:
        parts: asyncio.Queue[Part | RouterError | None] = asyncio.Queue(_AHEAD)
        pump = asyncio.get_running_loop().create_task(self._pump(request, parts))
        try:
            async with aclosing(self._outputs(job, parts)) as outputs:
                async for output in outputs:
                    yield output
        finally:
            pump.cancel()
            await asyncio.wait({pump})

    async def _pump(
        self, request: Request, parts: asyncio.Queue[Part | RouterError | None]
    ) -> None:
        """Take the answer in as it comes, also while the last chunk is being posted."""
        end: RouterError | None = None
        try:
            async with aclosing(self._service.answer(request)) as answer:
                async for part in answer:
                    await parts.put(part)
        except RouterError as error:
            end = error
        except Exception as error:  # noqa: BLE001 - the boundary: logged, and told as ours
            end = _unexpected(error)
        await parts.put(end)

    async def _tell(self, job: Job, progress: Progress) -> None:
        try:
            await self._report(job, _told(progress))
        except Exception as error:  # noqa: BLE001 - the job itself is well
            _log.warning("progress could not be posted: %s", type(error).__name__)

    async def _outputs(
        self, job: Job, parts: asyncio.Queue[Part | RouterError | None]
    ) -> AsyncGenerator[Output, None]:
        reply, began = JobReply(), self._clock()
        while True:
            part = await parts.get()
            if isinstance(part, Head | Body):
                reply.take(part)
                if not parts.empty():
                    continue  # coalesce: each yield is a post of its own
                outputs = [*reply.ready()]
            elif isinstance(part, Progress):
                outputs = []
                if not part.stream:
                    await self._tell(job, part)
                elif self._clock() - began >= _SILENCE:
                    outputs = [reply.comment(part)]
            else:
                outputs = [*reply.end()] if part is None else [*reply.failure(part)]
            for output in outputs:
                yield output
            if part is None or isinstance(part, RouterError):
                return


def _told(progress: Progress) -> dict[str, object]:
    told: dict[str, object] = {"stage": progress.stage}
    if progress.total:
        told |= {"bytes_done": progress.done, "bytes_total": progress.total}
    if progress.seconds is not None:
        told["eta_seconds"] = round(progress.seconds)
    return told


def _unexpected(error: Exception) -> InternalError:
    _log.error("a defect of the router", exc_info=error)
    return InternalError("The router failed on this job. Its log says why.")
