"""`make demo KEEP=1`: the worker keeps serving, and the demo prints requests to try."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from examples.demo.accounts import APPLE, BANANA, CHERRY, Callers, Model
from examples.demo.client import QUESTION
from examples.demo.transcript import Transcript
from tests.worker import Worker

_PAUSE = 0.5  # seconds between two reads of the worker's log
# Settings for another worker with this Hub's models and these engines.
_OF_ANY_WORKER = (
    "HF_ENDPOINT",
    "SSL_CERT_FILE",
    "ENGINE_PYTHON",
    "CUDA_VISIBLE_DEVICES",
    "MAX_LOADED_MODELS",
)


def keep_serving(callers: Callers, worker: Worker, transcript: Transcript) -> None:
    """Return when interrupted. Raises `RuntimeError` if the worker ends by itself."""
    variables = _write_variables(callers, worker)
    transcript.say(
        "The worker serves until Ctrl-C. To try it, in another terminal, in this folder:\n"
    )
    for line in (
        f". {variables}",
        'curl $URL/v1/models -H "X-HF-Token: $BOB"',
        _curl(APPLE),
        _curl(APPLE, stream=True),
        _curl(BANANA, "BOB"),
        _curl(BANANA, "CAROL"),
        _curl(CHERRY, "BOB"),
    ):
        transcript.say(f"  {line}")
    transcript.say("\nBOB and CAROL are throw-away tokens that only this Hub accepts.\n")
    router = f"{os.path.relpath(sys.executable)} -m router"
    transcript.say(f"What the worker does, for its operator: {worker.url}/ui, or\n")
    transcript.say(f"  {router} ps")
    transcript.say(f"  {router} logs {APPLE.repo_id}")
    transcript.say(
        "\nA worker of your own, with this Hub's models, and with settings as you like:\n"
    )
    transcript.say(f"  {router} serve --port 8001\n")
    transcript.say("The worker's log, from here on:\n")
    try:
        status = _follow(worker, transcript)
    except KeyboardInterrupt:
        transcript.say()  # the terminal shows ^C
        return
    raise RuntimeError(f"the worker ended by itself, with status {status}")


def _follow(worker: Worker, transcript: Transcript) -> int:
    """Print the worker's log until it ends. Return its exit status."""
    shown, status = len(worker.lines), None
    while status is None:
        with suppress(subprocess.TimeoutExpired):
            status = worker.wait(_PAUSE)
        for line in worker.lines[shown:]:
            transcript.say(f"  {line.rstrip()}")
            shown += 1
    return status


def _write_variables(callers: Callers, worker: Worker) -> Path:
    """Write a file of variables for a shell. Only its owner may read it, and it is deleted with
    the worker's directory."""
    own = {name: worker.environ[name] for name in _OF_ANY_WORKER if name in worker.environ}
    # Keep the other worker's downloads out of the user's own cache.
    own |= {"MODEL_ROUTER_URL": worker.url, "HF_HOME": str(worker.directory / "other")}
    file = worker.directory / "variables"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        print(f"URL={worker.url}", file=out)
        print(f"BOB={callers.bob.token} CAROL={callers.carol.token}", file=out)
        for name, value in own.items():
            print(f"export {name}={shlex.quote(value)}", file=out)
    return file


def _curl(model: Model, token: str = "", **options: object) -> str:
    messages = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": model.repo_id, "messages": messages, **options})
    headers = "-H 'Content-Type: application/json'"
    if token:
        headers += f' -H "X-HF-Token: ${token}"'
    return f"curl -N $URL/v1/chat/completions {headers} -d '{body}'"
