"""Each case and way of choosing a replica for conversations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.bench.fleet.conversations import Conversation, chats, with_one_hot
from tests.bench.fleet.sessions import CACHE, SMALL_CACHE, WAYS, SessionFigures, Sessions

_RATE, _LASTS = 1.5, 1200.0  # turns per second and replica; seconds
REPLICAS = (2, 4, 8, 16)
_SAME = 8  # replicas in the other cases


@dataclass(frozen=True, slots=True)
class Case:
    title: str
    make: Callable[[int, float, float], list[Conversation]]
    replicas: int
    cache: int = CACHE


CASES = (
    *(Case("chats", chats, count) for count in REPLICAS),
    Case("chats, small caches", chats, _SAME, SMALL_CACHE),
    Case("half of all from one session", with_one_hot, _SAME),
)
SessionResults = Sequence[tuple[Case, Mapping[str, SessionFigures]]]


def run_sessions(case: Case, way: str) -> SessionFigures:
    conversations = case.make(1, _RATE * case.replicas, _LASTS)
    return Sessions(conversations, case.replicas, way, case.cache).run()


def measure_sessions() -> SessionResults:
    with ProcessPoolExecutor() as pool:
        runs = [
            (case, {way: pool.submit(run_sessions, case, way) for way in WAYS})
            for case in CASES
        ]
        return [(case, {way: one.result() for way, one in of.items()}) for case, of in runs]
