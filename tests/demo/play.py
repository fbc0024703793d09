"""The demo, from the Hub's opening to the last engine's end."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import openai

from tests.demo.asking import Asker
from tests.demo.cast import Cast, assemble, describe
from tests.demo.engine_log import EngineLog, history
from tests.demo.interrupts import Interrupts
from tests.demo.serving import serve
from tests.demo.steps import script
from tests.demo.transcript import Transcript
from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.contents import Files
from tests.worker import Worker

_TOO_SLOW = (TimeoutError, subprocess.TimeoutExpired)
_TAIL = 40  # lines of the worker's log that are shown where something went wrong


def play(
    files: Mapping[str, Files],
    engine_python: Path,
    transcript: Transcript,
    interrupts: Interrupts,
    *,
    keep: bool,
) -> None:
    """Show everything. `files` are the models', by name. With `keep`, serve afterwards until
    interrupted. An interrupt at any other time is passed on when all processes are gone."""
    with ExitStack() as stack:
        hub = stack.enter_context(LoopbackHub())
        cast = assemble(hub, files)
        transcript.say(f"A Hugging Face Hub of our own, on {hub.endpoint}:")
        transcript.say(describe())
        worker = Worker(_folder(stack), _settings(hub, engine_python))
        try:
            with (
                transcript.phase("starting"),
                transcript.work("The worker starts."),
                interrupts.held_back(),
            ):
                stack.enter_context(worker)
            _walk(cast, worker, transcript)
            if keep and not transcript.failed:
                serve(cast, worker, transcript)
            _leave(cast, worker, transcript)
        except KeyboardInterrupt:
            transcript.say(
                "\nInterrupted: the worker ends its engines first, which takes seconds."
            )
            raise
        except (openai.APIConnectionError, RuntimeError, *_TOO_SLOW) as error:
            transcript.fail(str(error))
        if transcript.failed:
            transcript.say("\nThe worker's last lines:\n" + "".join(worker.lines[-_TAIL:]))


def _folder(stack: ExitStack) -> Path:
    # Not below the repository: the path of a socket of SGLang's has 107 bytes at most.
    folder = tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True)
    return Path(stack.enter_context(folder))


def _settings(hub: LoopbackHub, engine_python: Path) -> dict[str, str]:
    return {
        **hub.environment(),
        "ENGINE_PYTHON": str(engine_python),
        "CUDA_VISIBLE_DEVICES": "",  # a GPU of this machine stays out of it
        "MAX_LOADED_MODELS": "2",
        "MIN_RESIDENCY": "0",  # seconds that the third model waits for a fresh one to leave
    }


def _walk(cast: Cast, worker: Worker, transcript: Transcript) -> None:
    transcript.say(f"It serves on {worker.url}, with room for two engines.\n")
    transcript.headings()
    log = EngineLog(worker)
    with transcript.phase("requests"), Asker(worker.url) as asker:
        for step in script(cast):
            transcript.ask(step)
            answer = asker.ask(step)
            events = log.since_last()
            transcript.answered(answer, events, list(step.faults(answer, events)))
    transcript.say()


def _leave(cast: Cast, worker: Worker, transcript: Transcript) -> None:
    with transcript.phase("stopping"), transcript.work("The worker is told to leave."):
        status = worker.stop()
    transcript.check("All its processes are gone.", list(_left_behind(worker, status)))
    transcript.check("Its log holds no token.", list(_leaked(worker, cast)))
    transcript.say("\nWhat its log says of engines:")
    for line in history(worker.lines):
        transcript.say(f"  {line}")


def _left_behind(worker: Worker, status: int) -> Iterator[str]:
    if status != 0:
        yield f"it left with status {status}"
    if left := worker.processes():
        yield f"processes {left} are still there"


def _leaked(worker: Worker, cast: Cast) -> Iterator[str]:
    for caller in (cast.bob, cast.carol, cast.mallory):
        if caller.token and caller.token in worker.log:
            yield f"{caller.name}'s token"
