"""A key's limits per minute, and its limit of requests at once."""

from __future__ import annotations

import pytest

from router.access.rates import Usage
from router.config.caller_keys import CallerKey
from router.errors import RateLimited


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def key(
    requests: int | None = None, tokens: int | None = None, at_once: int | None = None
) -> CallerKey:
    return CallerKey(
        name="a", sha256="0" * 64, requests=requests, tokens=tokens, max_concurrency=at_once
    )


class Used:
    def __init__(self, limits: CallerKey) -> None:
        self.time = Time()
        self.usage = Usage(self.time)
        self.usage.limit(limits)

    def ask(self, tokens: int = 0) -> None:
        self.usage.begin()
        self.usage.end(tokens)

    def refused(self) -> float:
        """For how many seconds the caller is refused."""
        with pytest.raises(RateLimited) as refusal:
            self.usage.begin()
        return refusal.value.retry_after


def test_without_limits_all_is_let_through() -> None:
    used = Used(key())
    for _ in range(1000):
        used.ask(tokens=10**6)


def test_a_minutes_requests_may_come_at_once_and_then_one_after_another() -> None:
    used = Used(key(requests=6))
    for _ in range(6):
        used.ask()
    assert used.refused() == pytest.approx(10)
    used.time.now += 4
    assert used.refused() == pytest.approx(6)
    used.time.now += 6
    used.ask()
    assert used.refused() == pytest.approx(10)


@pytest.mark.parametrize("per_minute", [1, 7, 60, 997])
@pytest.mark.parametrize("taken", [1, 10, 12345])
def test_the_time_to_wait_is_no_second_too_short_nor_too_long(
    per_minute: int, taken: int
) -> None:
    used = Used(key(tokens=per_minute))
    used.ask(taken + per_minute)
    seconds = used.refused()
    used.time.now += seconds - 0.01
    assert used.refused() == pytest.approx(0.01)
    used.time.now += 0.01
    used.ask()


def test_an_answer_may_go_beyond_and_is_charged_all_the_same() -> None:
    used = Used(key(tokens=60))
    used.ask(tokens=59)
    used.ask(tokens=121)
    assert used.refused() == pytest.approx(121)


def test_what_is_not_used_is_not_saved_for_longer_than_a_minute() -> None:
    used = Used(key(requests=1))
    used.time.now += 3600
    used.ask()
    assert used.refused() == pytest.approx(60)


def test_a_refused_request_is_not_charged() -> None:
    used = Used(key(requests=2, tokens=60))
    used.ask(tokens=61)
    for _ in range(5):
        assert used.refused() == pytest.approx(2)
    used.time.now += 2
    used.ask()


def test_requests_at_once_are_bounded_until_one_ends() -> None:
    used = Used(key(at_once=2))
    used.usage.begin()
    used.usage.begin()
    assert used.refused() == 1
    used.usage.end(0)
    used.usage.begin()


def test_other_limits_hold_at_once_and_what_was_taken_stays_taken() -> None:
    used = Used(key(requests=10))
    for _ in range(8):
        used.ask()
    used.usage.limit(key(requests=5))
    assert used.refused() == pytest.approx(4 * 60 / 5)
    used.usage.limit(key(requests=20))
    for _ in range(12):
        used.ask()
    assert used.refused() == pytest.approx(3)
    used.usage.limit(key())
    used.ask()
