"""What a listener is told of requests: those in progress, and each that has ended, once."""

from __future__ import annotations

import asyncio
from typing import Any

from router.admin.recent import MOST, RecentRequests
from router.requests.activity import Activity
from router.requests.record import Outcome, Record


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
