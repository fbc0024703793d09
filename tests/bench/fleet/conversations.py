"""Conversations: each turn sends everything said before, and a new message."""

from __future__ import annotations

import random
from dataclasses import dataclass

APPS = 20  # kinds of system prompt, each with its own key
_SYSTEM = 1000  # tokens of each
_FIRST, _NEXT, _ANSWER = 1500, 150, 200  # mean tokens: first message, later one, answer
_TURNS = 8.0  # mean turns of a conversation
_THINKS = 20.0  # mean seconds between an answer and the next message


@dataclass(frozen=True, slots=True)
class Turn:
    asked: int  # tokens of the user's message
    answered: int
    pause: float  # seconds since the previous answer


@dataclass(frozen=True, slots=True)
class Conversation:
    """`session`: like `session_key`, equal for requests that begin alike."""

    name: int
    app: int
    begins: float
    session: str
    turns: tuple[Turn, ...]
    system: int = _SYSTEM


def chats(seed: int, rate: float, lasts: float) -> list[Conversation]:
    """`rate`: turns per second."""
    rng = random.Random(seed)
    made = list[Conversation]()
    at = 0.0
    while (at := at + rng.expovariate(rate / _TURNS)) < lasts:
        number, app = len(made), rng.randrange(APPS)
        count = _size(rng, _TURNS)
        turns = (_turn(rng, _FIRST if n == 0 else _NEXT) for n in range(count))
        made.append(Conversation(number, app, at, f"{app}/{number}", tuple(turns)))
    return made


def with_one_hot(seed: int, rate: float, lasts: float) -> list[Conversation]:
    """The same number of turns. Half of them belong to one program, whose requests all begin
    alike."""
    few = chats(seed, rate / 2, lasts)
    rng = random.Random(seed + 1)
    at, made = 0.0, list[Conversation]()
    while (at := at + rng.expovariate(rate / 2)) < lasts:
        number = len(few) + len(made)
        made.append(Conversation(number, APPS, at, "hot", (_turn(rng, _FIRST),), 3 * _SYSTEM))
    return sorted((*few, *made), key=lambda one: one.begins)


def _turn(rng: random.Random, asked: int) -> Turn:
    return Turn(_size(rng, asked), _size(rng, _ANSWER), rng.expovariate(1 / _THINKS))


def _size(rng: random.Random, mean: float) -> int:
    return max(1, round(rng.expovariate(1 / mean)))
