"""The last output lines of each model's engines, for the operator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from router.feed import Feed, Follower

LINES = 500  # per model
SIZE = 64 * 1024  # characters per model
MODELS = 32  # the models whose engines printed last


@dataclass(slots=True)
class _Lines:
    size: int = 0
    lines: deque[str] = field(default_factory=deque)

    def add(self, text: str) -> None:
        self.lines.append(text)
        self.size += len(text)
        while len(self.lines) > LINES or (self.size > SIZE and len(self.lines) > 1):
            self.size -= len(self.lines.popleft())


class EngineLog:
    """Keeps engine output, by repository. `redact` removes secrets."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._models: dict[str, _Lines] = {}  # the last to print comes last
        self._feeds: dict[str, Feed[str]] = {}

    def add(self, model: str, line: str) -> None:
        """Keep a line of an engine's output, without its secrets."""
        model, text = _key(model), self._redact(line)
        kept = self._models.pop(model, None) or _Lines()
        self._models[model] = kept
        kept.add(text)
        if len(self._models) > MODELS:
            del self._models[next(iter(self._models))]
        if feed := self._feeds.get(model):
            feed.send(text)

    def lines(self, model: str) -> Sequence[str]:
        """The last lines, latest last; empty for an unknown model."""
        kept = self._models.get(_key(model))
        return tuple(kept.lines) if kept else ()

    @contextmanager
    def follow(self, model: str) -> Iterator[Follower[str]]:
        """Receive the lines that this model's engines print from now on."""
        model = _key(model)
        feed = self._feeds.setdefault(model, Feed())
        try:
            with feed.follow() as follower:
                yield follower
        finally:
            if not feed.followed:
                self._feeds.pop(model, None)


def _key(model: str) -> str:
    """Repositories match in any letter case. Names of directories do not."""
    return model.lower() if "/" in model else model
