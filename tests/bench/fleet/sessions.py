"""The gain of keeping a conversation on one replica, if several have the model warm.

A replica reads prompts one after another. Each takes as long as its uncached tokens need. It
writes any number of answers at once. `router.fleet` chooses the replica.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

from router.fleet.report import Warm, Warmth, WorkerReport
from router.fleet.ring import Ring, hashed
from router.fleet.routing import Fleet
from router.simulation.hardware import Hardware
from tests.bench.fleet.conversations import Conversation
from tests.bench.fleet.prefix_cache import PrefixCache

READS = 10_000  # tokens of a prompt per second
CACHE = 400_000  # tokens, for an 8B model alone on a device of 80 GB
SMALL_CACHE = 60_000
_MODEL = "m"
WAYS = {
    "random": "at random",
    "least": "fewest requests",
    "hash": "hash of the session",
    "sticky": "session, bounded load",
}


@dataclass(frozen=True, slots=True)
class SessionFigures:
    """* `hits`: share of the prompts' tokens.
    * Waits: seconds until the first token.
    * `imbalance`: requests of the busiest replica, divided by the mean.
    """

    replicas: int
    requests: int
    hits: float
    mean: float
    p95: float
    imbalance: float


@dataclass(slots=True)
class _Request:
    conversation: Conversation
    turn: int
    context: int  # tokens said before
    came: float

    @property
    def prompt(self) -> int:
        return self.context + self.conversation.turns[self.turn].asked


class _Replica:
    def __init__(self, cache: int) -> None:
        self.cache, self.line = PrefixCache(cache), deque[_Request]()
        self.requests = 0
        self.reads = False


class Sessions:
    """Runs all conversations to their ends, in virtual time."""

    def __init__(
        self, conversations: Sequence[Conversation], replicas: int, way: str, cache: int = CACHE
    ) -> None:
        self._replicas = [_Replica(cache) for _ in range(replicas)]
        self._way, self._rng, self._now = way, random.Random(1), 0.0
        self._fleet, self._ring = Fleet(rng=self._rng), Ring()
        self._token = Hardware().token
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = self._asked = self._known = 0
        self._waits: list[float] = []
        warm = WorkerReport({_MODEL: Warm(Warmth.LOADED)})
        for number in range(replicas):
            self._fleet.report(str(number), warm)
            self._ring.add(str(number))
        for one in conversations:
            self._at(one.begins, partial(self._ask, one, 0, one.system))

    def run(self) -> SessionFigures:
        while self._agenda:
            self._now, _, what = heapq.heappop(self._agenda)
            what()
        counts = [one.requests for one in self._replicas]
        waits = sorted(self._waits)
        return SessionFigures(
            replicas=len(counts),
            requests=len(waits),
            hits=self._known / self._asked,
            mean=sum(waits) / len(waits),
            p95=waits[ceil(0.95 * len(waits)) - 1],
            imbalance=max(counts) * len(counts) / sum(counts),
        )

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._agenda, (when, self._order, what))

    def _choose(self, session: str) -> str:
        match self._way:
            case "random":
                return str(self._rng.randrange(len(self._replicas)))
            case "hash":
                return next(self._ring.walk(hashed(session)))
            case way:
                choice = self._fleet.choose(_MODEL, session if way == "sticky" else "")
                if choice is None:
                    raise ValueError("there is no replica")
                return choice.worker

    def _ask(self, conversation: Conversation, turn: int, context: int) -> None:
        name = self._choose(conversation.session)
        self._fleet.sent(name, _MODEL)
        replica = self._replicas[int(name)]
        replica.requests += 1
        replica.line.append(_Request(conversation, turn, context, self._now))
        if not replica.reads:
            self._read(name)

    def _read(self, name: str) -> None:
        """Read the next prompt, if one waits."""
        replica = self._replicas[int(name)]
        replica.reads = bool(replica.line)
        if replica.reads:
            request = replica.line.popleft()
            known = replica.cache.known(request.conversation, request.prompt)
            self._asked, self._known = self._asked + request.prompt, self._known + known
            done = self._now + (request.prompt - known) / READS
            self._at(done, partial(self._begins, name, request))

    def _begins(self, name: str, request: _Request) -> None:
        self._waits.append(self._now - request.came)
        self._replicas[int(name)].cache.keep(request.conversation, request.prompt)
        written = request.conversation.turns[request.turn].answered
        self._at(self._now + written * self._token, partial(self._ended, name, request))
        self._read(name)

    def _ended(self, name: str, request: _Request) -> None:
        self._fleet.ended(name, _MODEL)
        of, number = request.conversation, request.turn
        context = request.prompt + of.turns[number].answered
        self._replicas[int(name)].cache.keep(of, context)
        if number + 1 < len(of.turns):
            pause = of.turns[number + 1].pause
            self._at(self._now + pause, partial(self._ask, of, number + 1, context))
