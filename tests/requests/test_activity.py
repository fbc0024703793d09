from __future__ import annotations

from router.requests.activity import Activity
from router.requests.outcomes import Outcome
from router.requests.record import Record


def test_requests_in_progress_and_the_last_that_ended_are_known() -> None:
    activity = Activity(kept=2)
    records = [Record(f"/{number}") for number in range(4)]
    for record in records:
        activity.begin(record)
    for record in records[:3]:
        activity.end(record)
    assert activity.running == (records[3],)
    assert activity.ended == (records[2], records[1])


async def test_a_follower_hears_of_the_beginning_and_the_end() -> None:
    activity, record = Activity(), Record("/")
    with activity.follow() as follower:
        activity.begin(record)
        assert (await follower.get()).running
        record.end(Outcome.OK)
        activity.end(record)
        assert not (await follower.get()).running
