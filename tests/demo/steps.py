"""The demo's script: who asks for what, and what has to come of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.demo.cast import APPLE, BANANA, CHERRY, MISSING, Caller, Cast, Model


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    code: str | None  # of an error
    text: str  # what the model said, or the error's message
    pieces: int  # in which the text came
    seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """A request, and what it must lead to: the model says its own name (in a stream, over
    and over), or a refusal."""

    title: str
    caller: Caller
    model: Model
    refused: Refusal | None = None
    stream: bool = False
    cold: bool = False  # an engine is started for it
    evicts: Model | None = None  # and this model's is ended to make room

    @property
    def events(self) -> list[str]:
        """What the worker's log must tell of engines meanwhile."""
        evicted = [f"evicted {self.evicts.repo_id}"] if self.evicts else []
        return evicted + [f"started {self.model.repo_id}"] * self.cold

    def faults(self, answer: Answer, events: Sequence[str]) -> Iterator[str]:
        """Each way in which it went otherwise."""
        refused = Refusal(answer.status, answer.code) if answer.code else None
        if refused != self.refused:
            yield f"expected {self.refused or 200}, got {refused or 200}: {answer.text}"
        elif refused is None and not self._is_said_in(answer):
            yield f"expected {self.model.says!r}, got {answer.text!r}"
        elif self.stream and answer.pieces < 2:
            yield "the stream came in one piece"
        if list(events) != self.events:
            yield f"expected of the engines {self.events}, the worker's log says {events}"

    def _is_said_in(self, answer: Answer) -> bool:
        says = self.model.says
        times = max(1, len(answer.text) // len(says)) if self.stream else 1
        return answer.text == says * times


def script(cast: Cast) -> tuple[Step, ...]:
    """The worker has room for two engines: the third start is the first to evict."""
    nobody, bob, carol, mallory = cast.nobody, cast.bob, cast.carol, cast.mallory
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
        Step("the first one comes back", nobody, APPLE, cold=True, evicts=BANANA),
        Step("streamed, over and over", nobody, APPLE, stream=True),
    )
