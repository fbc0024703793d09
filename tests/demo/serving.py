"""`make demo KEEP=1`: leaves the worker serving, and says how to ask it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.demo.asking import QUESTION
from tests.demo.cast import APPLE, BANANA, CHERRY, Cast, Model
from tests.demo.transcript import Transcript
from tests.worker import Worker

_EVER = float("inf")


def serve(cast: Cast, worker: Worker, transcript: Transcript) -> None:
    """Return when interrupted. Raises `RuntimeError` where the worker ends by itself."""
    variables = _write_variables(cast, worker)
    transcript.say("It goes on serving until Ctrl-C. To try it, in another terminal:\n")
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
    transcript.say("\nBOB and CAROL are throw-away tokens, of use for this Hub only.\n")
    try:
        status = worker.wait(_EVER)
    except KeyboardInterrupt:
        transcript.say()  # the terminal shows ^C
        return
    raise RuntimeError(f"the worker ended by itself, with status {status}")


def _write_variables(cast: Cast, worker: Worker) -> Path:
    """For a shell to read; for its owner's eyes only. Goes with the worker's directory."""
    variables = {"URL": worker.url, "BOB": cast.bob.token, "CAROL": cast.carol.token}
    file = worker.directory / "variables"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.writelines(f"{name}={value}\n" for name, value in variables.items())
    return file


def _curl(model: Model, token: str = "", **options: object) -> str:
    messages = [{"role": "user", "content": QUESTION}]
    body = json.dumps({"model": model.repo_id, "messages": messages, **options})
    headers = "-H 'Content-Type: application/json'"
    if token:
        headers += f' -H "X-HF-Token: ${token}"'
    return f"curl -N $URL/v1/chat/completions {headers} -d '{body}'"
