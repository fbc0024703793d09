"""What a fake engine is asked to do, and the journal of what it was sent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Among the files that the router downloads: it takes this one for a tokenizer.
FILE = "tokenizer.fake_engine.json"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The defaults are a good engine. Times are in seconds."""

    answer: str | None = None  # what it says; else "I am <served name>"
    tokens: int | None = None  # how many it generates; else one for each word of the answer
    interval: float = 0.0  # from one token to the next
    dimensions: int = 2  # of an embedding

    imports: float = 0.0  # the port refuses, and so does the gate
    gate_without_lock: bool = False  # it answers anybody
    die_at_gate: float | None = None  # so long after it got there
    gate_refuses: bool = False  # to open
    gate_jams: bool = False  # it says that it opened, and does not

    start_delay: float = 0.0  # the port refuses
    warm_up: float = 0.0  # then it answers 503
    never_ready: bool = False
    die_at_start: int | None = None  # exit status, after `start_delay`
    last_words: str | None = None  # printed then
    wrong_model: bool = False  # /model_info tells of another
    without_lock: bool = False  # it answers anybody, without the key

    phases: dict[str, float] | None = None  # of its start, as it tells; None: it does not

    die_before_answer: bool = False
    poison: str | None = None  # it dies of a request with this text in it ...
    poison_takes: float = (
        0.0  # ... so many seconds later, whether or not its caller is still there
    )
    die_after_bytes: int | None = None  # of an answer's body
    hang: bool = False  # ready, but never generates; /health hangs as well
    unwell: bool = False  # /health says 503 at once; the real one takes 20 s to
    error: int | None = None  # the status that generation is refused with
    echo: bool = False  # the refusal repeats the request, headers included

    # with SGLang's memory saver
    device: str | None = None  # a directory: each engine notes its memory there
    memory: int = 0  # bytes that it holds
    kept_asleep: int = 0  # of them, after a release
    frees_after: float = 0.0  # the release has answered
    release_takes: float = 0.0
    release_error: int | None = None  # the status that it answers
    resume_takes: float = 0.0
    die_at_resume: bool = False

    compiles: str | None = None  # a kernel, unless it finds it in TRITON_CACHE_DIR

    ignore_sigint: bool = False
    ignore_sigterm: bool = False
    spawn_children: int = 0  # that ignore signals
    spawn_daemons: int = 0  # the same, in sessions of their own
    log_bytes: int = 0  # the length of one line that it prints at start

    journal: str | None = None  # a file; else the one that FAKE_ENGINE_JOURNAL names
    bad_lives: int | None = None  # well-behaved from then on; the journal counts lives

    @classmethod
    def of(cls, model_path: Path, environ: Mapping[str, str]) -> Behaviour:
        """Read the model's file; the variable FAKE_ENGINE wins over it, key by key."""
        file = model_path / FILE
        asked = json.loads(file.read_bytes()) if file.exists() else {}
        asked = {"journal": environ.get("FAKE_ENGINE_JOURNAL")} | {
            key: value for key, value in asked.items() if value is not None
        }
        return cls(**asked | json.loads(environ.get("FAKE_ENGINE") or "{}"))

    def in_life(self, number: int) -> Behaviour:
        if self.bad_lives is None or number <= self.bad_lives:
            return self
        return Behaviour(self.answer, self.tokens, self.interval, journal=self.journal)


class Journal:
    """One JSON object a line: `event`, `pid` and what belongs to it."""

    def __init__(self, path: str | None) -> None:
        self._file = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: str, **fields: object) -> None:
        if self._file is not None:
            line = json.dumps({"event": event, "pid": os.getpid(), **fields})
            os.write(self._file, line.encode() + b"\n")  # one write: engines share the file

    def lives(self, model_path: str) -> int:
        """How often this model was started, this time included."""
        if self._file is None:
            return 1
        lines = os.pread(self._file, os.fstat(self._file).st_size, 0).splitlines()
        starts = [line for line in map(json.loads, lines) if line["event"] == "start"]
        return sum(start["model_path"] == model_path for start in starts)
