"""A listener hears of requests in progress, and once of each ended request."""

from __future__ import annotations

import asyncio
from typing import Any

from router.admin.recent import MOST, RATED_OVER, RecentRequests
from router.requests.activity import Activity
from router.requests.outcomes import Outcome
from router.requests.record import Record


def begun(activity: Activity, request_id: str) -> Record:
    record = Record("/v1/chat/completions", request_id=request_id)
    activity.begin(record)
    return record


def end(activity: Activity, record: Record) -> None:
    record.end(Outcome.OK, status=200)
    activity.end(record)


def ids(news: dict[str, Any] | None) -> tuple[list[str], list[str]]:
    assert news is not None
    return [one["id"] for one in news["running"]], [one["id"] for one in news["ended"]]


def ignore() -> None:
    pass


async def test_a_request_is_told_while_it_runs_and_once_when_it_has_ended() -> None:
    activity = Activity()
    with RecentRequests(activity).follow(ignore) as requests:
        assert requests.news() is None
        record = begun(activity, "1")
        assert ids(requests.news()) == (["1"], [])
        end(activity, record)
        assert ids(requests.news()) == ([], ["1"])
        assert requests.news() is None


async def test_what_ended_before_is_not_news_and_is_kept() -> None:
    activity = Activity()
    for number in range(3):
        end(activity, begun(activity, str(number)))
    recent = RecentRequests(activity)
    with recent.follow(ignore) as requests:
        assert requests.news() is None
        assert ids(recent.everything()) == ([], ["2", "1", "0"])


async def test_of_many_the_latest_are_told() -> None:
    activity = Activity()
    with RecentRequests(activity).follow(ignore) as requests:
        for number in range(MOST + 5):
            end(activity, begun(activity, str(number)))
        _, ended = ids(requests.news())
        assert (len(ended), ended[0]) == (MOST, str(MOST + 4))


async def test_what_only_looks_at_the_worker_is_no_request() -> None:
    activity = Activity()
    looking = Record("/admin", method="GET")
    looking.is_operators("/admin")
    activity.begin(looking)
    assert ids(RecentRequests(activity).everything()) == ([], [])


async def test_a_request_that_begins_or_ends_wakes_the_listener() -> None:
    activity, woken = Activity(), asyncio.Event()
    with RecentRequests(activity).follow(woken.set):
        await asyncio.sleep(0)
        record = begun(activity, "1")
        await asyncio.wait_for(woken.wait(), 30)
        woken.clear()
        end(activity, record)
        await asyncio.wait_for(woken.wait(), 30)


def generated(activity: Activity, model: str, tokens: int, at: float) -> None:
    record = Record("/v1/chat/completions", wall=lambda: at, clock=lambda: 0.0)
    activity.begin(record)
    record.end(Outcome.OK, status=200)
    record.model, record.completion_tokens = model, tokens
    activity.end(record)


def test_tokens_a_second_are_those_of_the_requests_that_ended_in_the_last_minute() -> None:
    activity, now = Activity(), 1000.0
    generated(activity, "org/a", 6000, now - RATED_OVER - 1)
    generated(activity, "org/b", 60, now - 50)
    generated(activity, "org/a", 90, now - 40)
    generated(activity, "org/a", 30, now - 1)
    rates = RecentRequests(activity).tokens_a_second(now)
    assert rates == {"org/a": 120 / RATED_OVER, "org/b": 60 / RATED_OVER}


def test_where_more_ended_than_are_kept_the_rate_is_that_of_the_time_of_those() -> None:
    activity, now = Activity(kept=2), 1000.0
    for ago in (12, 10, 5):
        generated(activity, "org/a", 100, now - ago)
    assert RecentRequests(activity).tokens_a_second(now) == {"org/a": 200 / 10}
