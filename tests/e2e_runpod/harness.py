"""Fixtures of these tests: `python -m router runpod`, and the queue that it serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tests.e2e.caller import DONE, Json, chat
from tests.e2e.harness import Harness
from tests.loopback_platform import Hold, Job, LoopbackPlatform, Outcome
from tests.worker import ROOT, Worker

# They skip the SDK's useless work at each start.
STAND_INS = ROOT / "tests" / "loopback_platform" / "stand_ins"

# Seconds that an empty poll hangs, so long that a test that waits for one fails. The SDK itself
# gives up after 90.
POLL = 80.0


class QueueWorker(Worker):
    """Takes jobs as soon as it can. Entering the block does not wait for that."""

    command: ClassVar = "runpod"

    def __enter__(self) -> Self:
        self.start()
        return self


@dataclass(frozen=True)
class Endpoint:
    """A queue and its one worker."""

    platform: LoopbackPlatform
    worker: QueueWorker

    def submit(self, **job_input: Any) -> Job:
        return self.platform.submit(job_input)

    def submit_synchronous(self, **job_input: Any) -> Job:
        return self.platform.submit(job_input, synchronous=True)

    def run(self, **job_input: Any) -> Outcome:
        return self.submit(**job_input).wait()

    def chat(self, model: str | None, **fields: Any) -> Job:
        return self.submit(**chat(model, **fields))

    def stream(self, model: str | None, **fields: Any) -> Job:
        return self.chat(model, stream=True, **fields)

    def hold(self) -> Hold:
        """Let the first chunk of the next job hang. Call it before the job is sent."""
        return self.platform.hold_stream()

    def cancel(self, job: Job) -> None:
        self.platform.cancel(job)


class QueueHarness(Harness):
    @contextmanager
    def started(self, **environ: str) -> Iterator[Endpoint]:
        """Run a worker that the test ends itself."""
        with LoopbackPlatform(POLL) as platform:
            queue = {**platform.environment(), "PYTHONPATH": str(STAND_INS)}
            with self.add(QueueWorker, {**queue, **environ}) as worker:
                yield Endpoint(platform, worker)

    @contextmanager
    def endpoint(self, **environ: str) -> Iterator[Endpoint]:
        """Run a worker that must stop cleanly at the end."""
        with self.started(**environ) as endpoint:
            yield endpoint
            worker = endpoint.worker
            status = worker.stop()
            assert (status, worker.processes()) == (0, []), worker.log
            assert "Traceback" not in worker.log, worker.log


def answer(outcome: Outcome) -> Any:
    """The answer to a job without a stream: one output, once."""
    assert outcome.status == "COMPLETED", outcome
    (output,) = outcome.output
    return output


def said(outcome: Outcome) -> str:
    """The text of a chat model's answer."""
    text: str = answer(outcome)["choices"][0]["message"]["content"]
    return text


def refusal(outcome: Outcome) -> str:
    """The error code of a failed job. The error is an envelope, as a string."""
    assert outcome.status == "FAILED", outcome
    assert outcome.output is None
    error: Json = json.loads(outcome.error)["error"]
    assert set(error) - {"retry_after"} == {"message", "type", "param", "code"}
    code: str = error["code"]
    return code


def events(job: Job) -> list[str]:
    """The data of the stream's events so far. Each chunk must consist of whole events."""
    assert all(chunk.endswith("\n\n") for chunk in job.outputs), job.outputs
    told = "".join(job.outputs).split("\n\n")[:-1]
    return [event.removeprefix("data: ") for event in told if not event.startswith(":")]


def streamed(job: Job) -> str:
    """The text of a chat model's stream that has ended properly."""
    outcome = job.wait()
    assert outcome.status == "COMPLETED", outcome
    assert outcome.output == job.outputs  # the result repeats the stream
    *chunks, done = events(job)
    assert done == DONE
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
