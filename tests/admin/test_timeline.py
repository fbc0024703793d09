from __future__ import annotations

from router.admin.timeline import happenings
from router.models import EngineKey
from router.scheduler import actions, events


def test_an_engine_that_stops_for_a_group_is_told_with_the_name_of_the_group() -> None:
    key = EngineKey("org/name", "c" * 40)
    stop = actions.Stop(key, 1, "unloaded", at_once=False, group="large")
    (told,) = happenings(0.0, events.Tick(), [stop])
    assert (told.what, told.key, told.text) == ("unloaded", key, "group large")


def test_an_engine_that_is_evicted_is_told_with_the_model_that_gets_its_room() -> None:
    key, other = (EngineKey(f"org/{name}", "c" * 40) for name in ("name", "other"))
    stop = actions.Stop(key, 1, "evicted", at_once=False, room_for=other)
    sleep = actions.Sleep(key, 1, room_for=other, group="large")
    evicted, sleeps = happenings(0.0, events.Tick(), [stop, sleep])
    assert (evicted.what, evicted.text) == ("evicted", "for org/other@cccccccccccc")
    assert sleeps.text == "for org/other@cccccccccccc (group large)"
