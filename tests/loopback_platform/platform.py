"""The platform as tests hold it."""

from __future__ import annotations

import itertools
import secrets
from typing import Any, Self

from tests.loopback_platform.jobs import Hold, Job
from tests.loopback_platform.records import Ping, Take
from tests.loopback_platform.routes import BREAK_OFF, SYNCHRONOUS, Routes
from tests.loopback_platform.server import Server

_ENDPOINT = "loopback"


class LoopbackPlatform:
    """One endpoint with one queue and one worker, for the time of a `with` block.

    Everything may be called from any thread, also while a worker runs.
    """

    def __init__(self, poll: float = 1.0) -> None:
        """`poll`: how many seconds a poll for jobs or stop signals hangs when there is none.

        A worker that leaves waits for its polls: at worst so long. An empty poll for stop
        signals is followed by a second's pause: a cancel may take that long to arrive.
        """
        self._api_key = f"loopback-{secrets.token_hex(16)}"
        self._routes = Routes(_ENDPOINT, self._api_key, poll)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        self._server = Server(self._routes.application())
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def environment(self) -> dict[str, str]:
        """What a worker needs in its environment, before it imports the SDK.

        `$ID` and `$RUNPOD_POD_ID` are for the SDK to replace. It appends further parameters
        with `&`, so that there must be a query already.
        """
        base = f"{self._server.origin}/v2/{_ENDPOINT}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": "1000",  # ms; below a second the heartbeat dies
            "RUNPOD_AI_API_KEY": self._api_key,
            "RUNPOD_ENDPOINT_ID": _ENDPOINT,
            "RUNPOD_POD_ID": "loopback-pod",
            # The checks want a network that reaches 8.8.8.8, and end the worker without.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    @property
    def jobs(self) -> list[Job]:
        """All that were submitted, however they ended."""
        return list(self._routes.jobs.values())

    @property
    def takes(self) -> list[Take]:
        return self._routes.takes

    @property
    def pings(self) -> list[Ping]:
        return self._routes.pings

    def submit(self, job_input: Any, *, synchronous: bool = False) -> Job:
        """Queue a job for the worker, as `/run` does, or `/runsync`: all that the worker sees
        of it is the id. Streams are read of either."""
        begin = SYNCHRONOUS if synchronous else ""
        job = Job(f"{begin}job-{next(self._numbers)}", job_input)
        self._server.loop.call_soon_threadsafe(self._routes.enqueue, job)
        return job

    def cancel(self, job: Job) -> None:
        """End it as CANCELLED, and have the worker that runs it, if any, told to stop."""
        self._server.loop.call_soon_threadsafe(self._routes.cancel, job)

    def hold_stream(self, job: Job) -> Hold:
        """Leave one stream POST of this job hanging: the next that no other hold awaits."""
        job.stream_holds.append(hold := Hold(self._server.loop))
        return hold

    def hold_output(self, job: Job) -> Hold:
        """The same for what `progress_update` or the end of a job posts."""
        job.output_holds.append(hold := Hold(self._server.loop))
        return hold

    def fail(self, route: str, *statuses: int) -> None:
        """Answer the next requests to a route ("job-take", "job-stream", ...) so."""
        self._routes.faults[route].extend(statuses)

    def break_off(self, route: str) -> None:
        """Break the connection of the next request to a route."""
        self.fail(route, BREAK_OFF)
