"""Events of the last hour are kept, and no others."""

from __future__ import annotations

from router.admin.last_hour import KEPT, MOST, LastHour
from router.scheduler import actions, events


def alarm(text: str) -> list[actions.Action]:
    return [actions.Alarm(text)]


def texts(journal: LastHour, now: float) -> list[str]:
    return [one.text for one in journal.since(now)]


def test_what_happened_is_there_in_its_order() -> None:
    journal = LastHour()
    journal.tell(1.0, events.Tick(), alarm("first"))
    journal.tell(2.0, events.Tick(), alarm("second"))
    assert texts(journal, 3.0) == ["first", "second"]


def test_what_is_older_than_an_hour_is_forgotten() -> None:
    journal = LastHour()
    journal.tell(1.0, events.Tick(), alarm("old"))
    journal.tell(KEPT, events.Tick(), alarm("new"))
    assert texts(journal, KEPT + 2.0) == ["new"]


def test_the_latest_are_kept_however_many_there_are() -> None:
    journal = LastHour()
    for number in range(MOST + 1):
        journal.tell(1.0, events.Tick(), alarm(str(number)))
    kept = texts(journal, 2.0)
    assert (len(kept), kept[0], kept[-1]) == (MOST, "1", str(MOST))
