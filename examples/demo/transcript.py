"""The demo's output: one line per action, completed when the action ends."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from examples.demo.steps import Answer, Step


class Transcript:
    """Prints the demo. `passed` and `failed` count the checks."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.phases: list[str] = []
        self._line_is_open = False

    def say(self, text: str = "") -> None:
        if self._line_is_open:
            self._end()
        print(text, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record how long the block takes."""
        began = time.perf_counter()
        yield
        self.phases.append(f"{name} {time.perf_counter() - began:.1f} s")

    @contextmanager
    def work(self, text: str) -> Iterator[None]:
        """Print a line for an action that either succeeds or raises."""
        self._begin(text)
        began = time.perf_counter()
        yield
        self._judge([], took=time.perf_counter() - began)

    def check(self, text: str, faults: Sequence[str]) -> None:
        self._begin(text)
        self._judge(faults)

    def headings(self) -> None:
        self._begin(_columns("caller", "model", "case"))
        self._end("answer", "time", "  engines")

    def ask(self, step: Step) -> None:
        self._begin(_columns(step.caller.name, step.model.repo_id, step.title))

    def answered(self, answer: Answer, events: Sequence[str], faults: Sequence[str]) -> None:
        said = answer.text if answer.status == 200 else answer.code
        if answer.pieces > 1:
            said = f"{answer.text[:11]}… {answer.pieces} pieces"
        heat = "" if answer.code else "cold" if events else "warm"
        note = ", ".join(events)
        result = f"{answer.status} {said}"
        self._judge(faults, result, answer.seconds, f"{heat}: {note}" if note else heat)

    def fail(self, fault: str) -> None:
        self.failed += 1
        self.say(f"    ✗ {fault}")

    def _judge(
        self, faults: Sequence[str], result: str = "", took: float | None = None, note: str = ""
    ) -> None:
        mark = "✗" if faults else "✓"
        self._end(result, "" if took is None else f"{took:.1f} s", f"{mark} {note}")
        self.passed += not faults
        for fault in faults:
            self.fail(fault)

    def _begin(self, text: str) -> None:
        print(f"  {text:<57}", end="", flush=True)
        self._line_is_open = True

    def _end(self, result: str = "", took: str = "", rest: str = "") -> None:
        print(f"{result:<26} {took:>7} {rest}".rstrip(), flush=True)
        self._line_is_open = False


def _columns(caller: str, model: str, case: str) -> str:
    return f"{caller:<8} {model:<13} {case}"
