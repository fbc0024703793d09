"""The steps of the demo: each request, and the expected outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from examples.demo.accounts import APPLE, BANANA, CHERRY, MISSING, Caller, Callers, Model


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    code: str | None  # the error code, if refused
    text: str  # the model's answer, or the error's message
    pieces: int  # number of events with text
    seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """A request and its expected outcome: a refusal, or an answer with the model's own name (a
    stream repeats it)."""

    title: str
    caller: Caller
    model: Model
    refused: Refusal | None = None
    stream: bool = False
    cold: bool = False  # the request starts an engine
    evicts: Model | None = None  # the model that is evicted for it

    @property
    def events(self) -> list[str]:
        """The starts and evictions that the worker's log must show for this step."""
        evicted = [f"evicted {self.evicts.repo_id}"] if self.evicts else []
        return evicted + [f"started {self.model.repo_id}"] * self.cold

    def faults(self, answer: Answer, events: Sequence[str]) -> Iterator[str]:
        """Every difference from the expected outcome."""
        refused = Refusal(answer.status, answer.code) if answer.code else None
        if refused != self.refused:
            yield f"expected {self.refused or 200}, got {refused or 200}: {answer.text}"
        elif refused is None and not self._is_expected(answer.text):
            yield f"expected {self.model.says!r}, got {answer.text!r}"
        elif self.stream and answer.pieces < 2:
            yield "the stream came in one piece"
        if list(events) != self.events:
            yield f"expected the engine events {self.events}, the worker's log shows {events}"

    def _is_expected(self, text: str) -> bool:
        says = self.model.says
        times = max(1, len(text) // len(says)) if self.stream else 1
        return text == says * times


def steps(callers: Callers) -> tuple[Step, ...]:
    """The worker has room for two engines, so the third start is the first with an eviction."""
    nobody, bob, carol, mallory = callers.nobody, callers.bob, callers.carol, callers.mallory
    invalid = Refusal(401, "invalid_hf_token")
    gated = Refusal(403, "model_gated")
    missing = Refusal(404, "model_not_found")
    return (
        Step("public, without a token", nobody, APPLE, cold=True),
        Step("the same again", nobody, APPLE),
        Step("public, but the token is invalid", mallory, APPLE, invalid),
        Step("gated, without a token", nobody, BANANA, gated),
        Step("gated, terms not accepted", bob, BANANA, gated),
        Step("gated, terms accepted", carol, BANANA, cold=True),
        Step("gated, loaded, terms not accepted", bob, BANANA, gated),
        Step("private, without a token", nobody, CHERRY, missing),
        Step("private, another's token", carol, CHERRY, missing),
        Step("no such model: the same answer", carol, MISSING, missing),
        Step("private, its owner's token", bob, CHERRY, cold=True, evicts=APPLE),
        Step("private, loaded, another's token", carol, CHERRY, missing),
        Step("the evicted model again", nobody, APPLE, cold=True, evicts=BANANA),
        Step("streamed", nobody, APPLE, stream=True),
    )
