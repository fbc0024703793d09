"""The demo itself: start a Hub and a worker, send the requests, stop everything."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import openai

from examples.demo.accounts import Callers, describe_models, open_accounts
from examples.demo.client import Client
from examples.demo.engine_log import EngineLog, history
from examples.demo.interrupts import Interrupts
from examples.demo.serving import keep_serving
from examples.demo.steps import steps
from examples.demo.transcript import Transcript
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.contents import Files
from tests.worker import Worker

_TOO_SLOW = (TimeoutError, subprocess.TimeoutExpired)
_TAIL = 40  # log lines shown after a failed check


def walk_through(
    files: Mapping[str, Files],
    engine_python: Path,
    transcript: Transcript,
    interrupts: Interrupts,
    *,
    keep: bool,
) -> None:
    """Run all steps. `files` maps a model's name to the model's files. With `keep`, the worker
    then serves until interrupted. At any other time, an interrupt is raised again after all
    processes have ended."""
    with ExitStack() as stack:
        hub = stack.enter_context(LoopbackHub())
        callers = open_accounts(hub, files)
        transcript.say(f"A Hugging Face Hub for the demo, on {hub.endpoint}:")
        transcript.say(describe_models())
        worker = Worker(_folder(stack), _settings(hub, engine_python))
        try:
            with (
                transcript.phase("starting"),
                transcript.work("The worker starts."),
                interrupts.held_back(),
            ):
                stack.enter_context(worker)
            _send_requests(callers, worker, transcript)
            if keep and not transcript.failed:
                keep_serving(callers, worker, transcript)
            _stop(callers, worker, transcript)
        except KeyboardInterrupt:
            transcript.say(
                "\nInterrupted. The worker stops its engines first, which takes a few seconds."
            )
            raise
        except (openai.APIConnectionError, RuntimeError, *_TOO_SLOW) as error:
            transcript.fail(str(error))
        if transcript.failed:
            tail = "".join(worker.lines[-_TAIL:])
            transcript.say(f"\nThe last lines of the worker's log:\n{tail}")


def _folder(stack: ExitStack) -> Path:
    # Not inside the repository: SGLang opens Unix sockets there, and their paths are limited to
    # 107 bytes.
    folder = tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True)
    return Path(stack.enter_context(folder))


def _settings(hub: LoopbackHub, engine_python: Path) -> dict[str, str]:
    return {
        **hub.environment(),
        "ENGINE_PYTHON": str(engine_python),
        "CUDA_VISIBLE_DEVICES": "",  # the demo uses no GPU
        "MAX_LOADED_MODELS": "2",
        "EVICTION": "lru",  # `cost` would depend on the time that starts take
        "STANDBY_ENGINES": "0",  # so that the log shows one start after another
        "SWAP_PATIENCE": "0",  # seconds that a model waits for an engine in use
    }


def _send_requests(callers: Callers, worker: Worker, transcript: Transcript) -> None:
    transcript.say(f"It serves on {worker.url}, with room for two engines.\n")
    transcript.headings()
    log = EngineLog(worker)
    with transcript.phase("requests"), Client(worker.url) as client:
        for step in steps(callers):
            transcript.ask(step)
            answer = client.ask(step)
            events = log.since_last()
            transcript.answered(answer, events, list(step.faults(answer, events)))
    transcript.say()


def _stop(callers: Callers, worker: Worker, transcript: Transcript) -> None:
    with transcript.phase("stopping"), transcript.work("The worker is told to stop."):
        status = worker.stop()
    transcript.check("All of its processes are gone.", list(_left_behind(worker, status)))
    transcript.check("Its log holds no token.", list(_leaked(worker, callers)))
    transcript.say("\nIts log on engines:")
    for line in history(worker.lines):
        transcript.say(f"  {line}")


def _left_behind(worker: Worker, status: int) -> Iterator[str]:
    if status != 0:
        yield f"it exited with status {status}"
    if left := worker.processes():
        yield f"processes {left} are still there"


def _leaked(worker: Worker, callers: Callers) -> Iterator[str]:
    for caller in (callers.bob, callers.carol, callers.mallory):
        if caller.token and caller.token in worker.log:
            yield f"{caller.name}'s token"
