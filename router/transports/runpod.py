"""RunPod's queue: jobs in, outputs out. What the SDK is given to call.

The SDK (1.12) runs its own event loop, so the worker is opened inside of it, by the first
call of the concurrency modifier; until the default model is settled that says 0, and then a
constant, because any change makes the SDK wait until no job runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from router.envelope import envelope
from router.errors import InternalError, RouterError
from router.parts import Body, Head, Part, Progress, Request
from router.service import ModelCard
from router.transports.job_forms import ListModels, read
from router.transports.job_reply import JobReply, Output

_log = logging.getLogger("router.runpod")

Job = Mapping[str, Any]
Report = Callable[[Job, dict[str, object]], Awaitable[None]]

_SILENCE = 10.0  # seconds that a stream may be silent
_AHEAD = 64  # parts of an answer, of 64 KiB at most, that wait for a slow post


class Service(Protocol):
    """What this transport needs of `router.service`."""

    def answer(self, request: Request) -> AsyncGenerator[Part, None]: ...

    async def models(self, hf_token: str | None, caller: str) -> Sequence[ModelCard]: ...

    async def model(self, name: str, hf_token: str | None, caller: str) -> ModelCard: ...


class Jobs:
    """Handles jobs with `service`. `report` posts a job's progress."""

    def __init__(self, service: Service, report: Report, clock: Callable[[], float]) -> None:
        self._service, self._report, self._clock = service, report, clock
        self._running: set[asyncio.Task[Any]] = set()

    async def handle(self, job: Job) -> AsyncGenerator[Output, None]:
        """The handler: yield what the SDK is to post. Never raises but `CancelledError`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the SDK runs each job in a task
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            order = read(job.get("input"))
            if isinstance(order, ListModels):
                yield await self._models(order)
                return
        except RouterError as error:
            yield {"error": envelope(error).decode()}
            return
        except Exception as error:  # noqa: BLE001 - a raised one would reach the caller
            yield {"error": envelope(_unexpected(error)).decode()}
            return
        async with aclosing(self._answer(job, order, task)) as outputs:
            async for output in outputs:
                yield output

    async def finished(self, patience: float) -> None:
        """Wait until the SDK has posted all results, `patience` seconds at most."""
        if self._running:
            await asyncio.wait(self._running, timeout=patience)

    async def _models(self, order: ListModels) -> Output:
        if order.name:
            return _card(await self._service.model(order.name, order.hf_token, ""))
        cards = await self._service.models(order.hf_token, "")
        return {"object": "list", "data": [_card(card) for card in cards]}

    async def _answer(
        self, job: Job, request: Request, task: asyncio.Task[Any]
    ) -> AsyncGenerator[Output, None]:
        parts: asyncio.Queue[Part | RouterError | None] = asyncio.Queue(_AHEAD)
        pump = asyncio.get_running_loop().create_task(self._pump(request, parts))
        # A stop signal mostly comes while a chunk is being posted. This generator is then
        # suspended at a `yield`, and its `finally` runs when the process exits; the
        # callback runs at once, and ends the generation and the lease.
        task.add_done_callback(lambda _: pump.cancel())
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


def _card(card: ModelCard) -> dict[str, object]:
    return {
        "id": card.id,
        "object": "model",
        "created": 0,
        "owned_by": card.owned_by,
        "loaded": card.loaded,
    }
