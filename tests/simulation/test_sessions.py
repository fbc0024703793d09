"""Conversations on several replicas: what is cached, what is not, and how uneven the load
is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.bench.fleet.conversations import Conversation, chats, with_one_hot
from tests.bench.fleet.prefix_cache import PrefixCache
from tests.bench.fleet.sessions import WAYS, SessionFigures, Sessions


def figures(conversations: list[Conversation]) -> dict[str, SessionFigures]:
    return {way: Sessions(conversations, 8, way).run() for way in WAYS}


def test_a_session_that_stays_is_read_from_the_cache_and_waits_for_less() -> None:
    of = figures(chats(1, rate=12, lasts=300))
    assert of["sticky"].hits > 0.9
    assert of["least"].hits < 0.6
    assert of["sticky"].p95 * 2 < of["least"].p95


def test_a_session_of_half_of_all_requests_does_not_overload_one_replica() -> None:
    of = figures(with_one_hot(1, rate=12, lasts=300))
    assert of["hash"].imbalance > 4
    assert of["sticky"].imbalance < 3
    assert of["sticky"].p95 * 4 < of["hash"].p95
    assert of["sticky"].mean < of["least"].mean
    assert of["sticky"].hits > of["least"].hits


def test_the_same_seed_makes_the_same_figures() -> None:
    first, second = (Sessions(chats(3, 6, 60), 4, "sticky").run() for _ in range(2))
    assert first == second


@given(
    used=st.lists(st.tuples(st.integers(0, 5), st.integers(1, 400)), max_size=40),
    size=st.integers(0, 2000),
)
def test_a_cache_holds_no_more_than_it_may_and_knows_no_more_than_it_was_told(
    used: list[tuple[int, int]], size: int
) -> None:
    cache, told = PrefixCache(size), dict[int, int]()
    for name, more in used:
        one = Conversation(name, name % 2, 0.0, "", (), system=100)
        context = told[name] = told.get(name, 100) + more
        assert cache.known(one, context) <= context - more
        cache.keep(one, context)
        assert cache.holds <= size
        assert cache.known(one, context) in {0, 100, context - 1}
