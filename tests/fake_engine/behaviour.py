"""How a fake engine should behave, and the journal of what it received."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The router takes this file for a tokenizer, so it downloads it.
FILE = "tokenizer.fake_engine.json"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The defaults describe a good engine. Times are in seconds."""

    answer: str | None = None  # the text of its answer; default: "I am <served name>"
    tokens: int | None = None  # generated tokens; default: one per word of the answer
    interval: float = 0.0  # between tokens
    ends_with: str | None = None  # the last token waits until this file exists
    dimensions: int = 2  # of an embedding

    imports: float = 0.0  # meanwhile, the port and the gate refuse connections
    gate_without_lock: bool = False  # the gate asks for no key
    die_at_gate: float | None = None  # seconds after reaching the gate
    gate_refuses: bool = False  # the gate refuses to open
    gate_jams: bool = False  # the gate says that it opened, but stays closed

    start_delay: float = 0.0  # meanwhile, the port refuses connections
    starts_with: str | None = None  # the same until this file exists
    warm_up: float = 0.0  # meanwhile, it answers 503
    never_ready: bool = False
    die_at_start: int | None = None  # exit status, after `start_delay`
    last_words: str | None = None  # printed at that moment
    wrong_model: bool = False  # /model_info names another model
    without_lock: bool = False  # it asks for no key

    phases: dict[str, float] | None = None  # durations of its start; None: not reported

    die_before_answer: bool = False
    poison: str | None = None  # it dies of a request that contains this text ...
    poison_takes: float = 0.0  # ... so many seconds later, even if the caller has left
    die_after_bytes: int | None = None  # of an answer's body
    hang: bool = False  # ready, but never generates; /health hangs too
    unwell: bool = False  # /health answers 503 at once; the real engine takes 20 s
    error: int | None = None  # generation is refused with this status
    echo: bool = False  # the refusal repeats the request with its headers

    # with SGLang's memory saver
    device: str | None = None  # a directory: each engine writes its memory there
    memory: int = 0  # bytes held
    kept_asleep: int = 0  # bytes held after a release
    frees_after: float = 0.0  # seconds between the answer to a release and the release
    release_takes: float = 0.0
    release_error: int | None = None  # the status of its answer
    resume_takes: float = 0.0
    die_at_resume: bool = False

    compiles: str | None = None  # compiles this kernel, unless TRITON_CACHE_DIR has it

    ignore_sigint: bool = False
    ignore_sigterm: bool = False
    spawn_children: int = 0  # children that ignore signals
    spawn_daemons: int = 0  # the same, in their own sessions
    log_bytes: int = 0  # the length of one line printed at start

    journal: str | None = None  # a file; default: the one in FAKE_ENGINE_JOURNAL
    bad_lives: int | None = None  # well-behaved after so many lives; the journal counts them

    @classmethod
    def of(cls, model_path: Path, environ: Mapping[str, str]) -> Behaviour:
        """Read the model's file. The variable FAKE_ENGINE overrides single keys."""
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
    """One JSON object per line, with `event`, `pid` and details."""

    def __init__(self, path: str | None) -> None:
        self._file = None
        if path is not None:
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, event: str, **fields: object) -> None:
        if self._file is not None:
            line = json.dumps({"event": event, "pid": os.getpid(), **fields})
            os.write(self._file, line.encode() + b"\n")  # one write: engines share the file

    def lives(self, model_path: str) -> int:
        """Count the starts of this model, including this one."""
        if self._file is None:
            return 1
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        events = map(json.loads, whole_lines(content))
        starts = [event for event in events if event["event"] == "start"]
        return sum(start["model_path"] == model_path for start in starts)


def whole_lines(content: bytes) -> list[bytes]:
    """The lines of a journal, without one that is just being written: across the end of a page,
    another process sees its beginning first."""
    return content.rpartition(b"\n")[0].splitlines()
