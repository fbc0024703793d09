"""The platform's interface for tests."""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from typing import Any, Self

from tests.loopback_platform.jobs import Hold, Job
from tests.loopback_platform.records import Ping, Take
from tests.loopback_platform.routes import BREAK_OFF, SYNCHRONOUS, Routes
from tests.loopback_platform.server import Server

_ENDPOINT = "loopback"


class LoopbackPlatform:
    """One endpoint with one queue and one worker, during a `with` block.

    Everything may be called from any thread, even while a worker runs.
    """

    def __init__(self, poll: float = 1.0) -> None:
        """`poll`: how many seconds a poll for jobs or stop signals waits.

        A leaving worker waits for its polls, at worst this long. After an empty poll for stop
        signals the SDK pauses for a second, so a cancellation may take that long to arrive.
        """
        self._api_key = f"loopback-{secrets.token_hex(16)}"
        self._routes = Routes(_ENDPOINT, self._api_key, poll)
        self._numbers = itertools.count(1)
        self._stream_holds: deque[Hold] = deque()  # for the next job
        self._output_holds: deque[Hold] = deque()

    def __enter__(self) -> Self:
        self._server = Server(self._routes.application())
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def environment(self) -> dict[str, str]:
        """The environment that a worker needs before it imports the SDK.

        The SDK replaces `$ID` and `$RUNPOD_POD_ID`. It appends parameters with `&`, so the URL
        must already have a query.
        """
        base = f"{self._server.origin}/v2/{_ENDPOINT}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",  # ms; the heartbeat dies below one second
            "RUNPOD_AI_API_KEY": self._api_key,
            "RUNPOD_ENDPOINT_ID": _ENDPOINT,
            "RUNPOD_POD_ID": "loopback-pod",
            # The checks need a network that reaches 8.8.8.8; without it they end the worker.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    @property
    def jobs(self) -> list[Job]:
        """All submitted jobs, including ended ones."""
        return list(self._routes.jobs.values())

    @property
    def takes(self) -> list[Take]:
        return self._routes.takes

    @property
    def pings(self) -> list[Ping]:
        return self._routes.pings

    def submit(self, job_input: Any, *, synchronous: bool = False) -> Job:
        """Queue a job for the worker like `/run` or `/runsync`. The worker only sees the
        difference in the id. Both kinds can stream."""
        begin = SYNCHRONOUS if synchronous else ""
        job = Job(f"{begin}job-{next(self._numbers)}", job_input)
        job.stream_holds, self._stream_holds = self._stream_holds, deque()
        job.output_holds, self._output_holds = self._output_holds, deque()
        self._server.loop.call_soon_threadsafe(self._routes.enqueue, job)
        return job

    def cancel(self, job: Job) -> None:
        """End the job as CANCELLED, and tell the worker that runs it, if any, to stop."""
        self._server.loop.call_soon_threadsafe(self._routes.cancel, job)

    def hold_stream(self) -> Hold:
        """Let a stream POST of the next submitted job hang: its first one without a hold.

        Call it before `submit`: a worker may be faster than the test.
        """
        self._stream_holds.append(hold := Hold(self._server.loop))
        return hold

    def hold_output(self) -> Hold:
        """The same for a POST by `progress_update` or at the end of a job."""
        self._output_holds.append(hold := Hold(self._server.loop))
        return hold

    def fail(self, route: str, *statuses: int) -> None:
        """Answer the next requests to a route ("job-take", "job-stream", ...) with these
        statuses."""
        self._routes.faults[route].extend(statuses)

    def break_off(self, route: str) -> None:
        """Break the connection of the next request to a route."""
        self.fail(route, BREAK_OFF)
