"""Runs the worker inside the RunPod SDK's event loop: opens it, reports, and shuts it down.

Imported only for the queue: the SDK takes 1.5 s to import and reads its environment then.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, Protocol

import runpod
from runpod.http_client import AsyncClientSession, ClientSession
from runpod.serverless.modules import rp_job
from runpod.serverless.modules.rp_http import send_result
from runpod.serverless.modules.worker_state import JobsProgress

from router.requests.recorder import Recorder
from router.requests.service import Service
from router.runpod.handler import Job, Jobs
from router.runpod.outputs import Output

_log = logging.getLogger("router.runpod")

_POSTING = 10.0  # seconds to post the last results


class OpenableWorker(Protocol):
    """The part of `router.app.worker.Worker` used here."""

    @property
    def recorder(self) -> Recorder: ...

    def open(self) -> AbstractAsyncContextManager[Service]: ...

    async def until_leaving(self, service: Service) -> None: ...

    async def drain(self) -> int: ...


def take_jobs(worker: OpenableWorker, concurrency: int) -> int:
    """Serve jobs until a stop signal; return the exit status. `concurrency`: jobs at once."""
    intake = Intake(worker, concurrency)

    async def handler(job: Job) -> AsyncGenerator[Output, None]:
        # The SDK inspects the handler: only a plain function with a `yield` is a generator.
        async for output in intake.handle(job):
            yield output

    sys.argv = sys.argv[:1]  # the SDK parses it for its own options
    post_whole_answers_once(intake)
    try:
        runpod.serverless.start(
            {
                "handler": handler,
                "concurrency_modifier": intake.concurrency,
                "return_aggregate_stream": True,
            }
        )
    except SystemExit:
        _log.debug("the SDK's loop was left")
    return intake.status


def post_whole_answers_once(intake: Intake) -> None:
    """Keep the SDK from posting an answer without a stream as part of a stream.

    The SDK posts each output of a generator immediately, and all of them again as the result.
    If the answer is large, RunPod refuses the first post.
    """
    post = rp_job.stream_result

    async def stream_result(session: ClientSession, output: dict[str, Any], job: Job) -> None:
        if intake.streams(job):
            await post(session, output, job)

    rp_job.stream_result = stream_result


class Intake:
    """Tells the SDK how many jobs to take, and runs the worker."""

    def __init__(self, worker: OpenableWorker, concurrency: int) -> None:
        self.status = 1  # until the drain returns the real one
        self._worker, self._concurrency = worker, concurrency
        self._jobs: Jobs | None = None
        self._service: Service | None = None
        self._life: asyncio.Task[None] | None = None

    def concurrency(self, _current: int) -> int:
        """0 until the default model is ready or has failed for good, then a constant.

        The SDK calls this in its loop before it takes its first job. The worker must not open
        earlier: its resources would belong to another loop and to the forked heartbeat, too.
        """
        if self._life is None:
            self._life = asyncio.get_running_loop().create_task(self._live())
        if self._service is None or not self._service.health().ready:
            return 0
        if self._service.health().leaving:
            # Take no new jobs. A plain 0 would strand a job that was just taken.
            return int(JobsProgress().get_job_count())
        return self._concurrency

    def handle(self, job: Job) -> AsyncGenerator[Output, None]:
        assert self._jobs is not None, "a job before the worker was ready"  # noqa: S101
        return self._jobs.handle(job)

    def streams(self, job: Job) -> bool:
        return self._jobs is not None and self._jobs.streams(job)

    async def _live(self) -> None:
        try:
            async with AsyncExitStack() as stack:
                session = await stack.enter_async_context(AsyncClientSession())

                async def report(job: Job, progress: dict[str, object]) -> None:
                    # Awaited, because the SDK's own progress function posts from threads, and
                    # its post may come after the result.
                    told = {"status": "IN_PROGRESS", "output": progress}
                    await send_result(session, told, job)

                service = await stack.enter_async_context(self._worker.open())
                self._service = service
                self._jobs = Jobs(service, report, recorder=self._worker.recorder)
                await self._worker.until_leaving(service)
                self.status = await self._worker.drain()
                await _posted()
                await self._jobs.closed()
        finally:
            # The SDK's own exit waits up to 90 s for its long polls.
            asyncio.get_running_loop().call_soon(sys.exit, self.status)


async def _posted() -> None:
    """Wait until the SDK has posted all results, including those of jobs not yet begun.

    The SDK counts a job from the moment it takes it, and begins it within 0.1 s. It has no
    event for this, so the count is polled.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_POSTING):
            while JobsProgress().get_job_count():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
