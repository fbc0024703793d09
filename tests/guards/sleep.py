"""Guards: a sleeping engine gets no requests, and its cached state is not used after it
wakes."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap, without

_TEST = "tests/engines/test_sleep.py::test_"
_SCENARIO = "tests/scheduler/test_scenarios.py::test_"
_PLANNER = "tests/scheduler/test_planner.py::test_"

GUARDS = (
    Guard(
        "The prefix cache is emptied before an engine sleeps",
        "engines.sleep:SleepSwitch.sleep",
        drop("ask", "_IDLE_TIMEOUT"),
        _TEST + "the_cache_is_emptied_before_its_memory_goes",
    ),
    Guard(
        "No engine is told twice to sleep or to wake",
        "engines.sleep:SleepSwitch._leave",
        never("_phase"),
        _TEST + "no_engine_is_woken_twice_or_put_to_sleep_twice",
    ),
    Guard(
        "An engine without the memory saver is not told to release anything",
        "engines.sleep:SleepSwitch.sleep",
        never("_able"),
        _TEST + "an_engine_without_the_saver_is_left_alone",
    ),
    Guard(
        "A sleeper is not probed",
        "engines.launcher:SglangEngine.probe",
        never("awake"),
        _TEST + "a_sleeper_is_not_probed",
    ),
    Guard(
        "An engine is awake only when it has computed something",
        "engines.sleep:SleepSwitch.wake",
        drop("_proof"),
        _TEST + "an_engine_is_awake_only_when_it_has_computed_a_token",
    ),
    Guard(
        "Sleepers leave the container its reserve",
        "engines.sleep_memory:budget",
        swap("total - reserve(total)", "total"),
        "tests/engines/test_sleep_memory.py::test_sleepers_never_get_the_reserve",
    ),
    Guard(
        "An engine with a request in flight is not put to sleep",
        "router.scheduler.planner:_Planner._make_room",
        without("idle").nth(2, of=2),
        _SCENARIO + "an_engine_with_a_request_in_flight_does_not_sleep_until_it_has_answered",
    ),
    Guard(
        "A sleeper gets no request",
        "router.scheduler.serving_slot:ServingSlot._grant",
        never("READY"),
        _SCENARIO + "a_sleeper_is_asked_nothing",
    ),
    Guard(
        "The weights of all sleepers stay within SLEEP_MEMORY",
        "router.scheduler.planner:_Planner._evict",
        swap("victim.weights <= room", "True"),
        _PLANNER + "an_engine_stops_where_all_sleepers_are_wanted_more",
    ),
    Guard(
        "No caller is blamed for an engine that fails to sleep or to wake",
        "router.scheduler.engine_life:EngineLife._crashed_asleep",
        body("return self._crashed(event, now)"),
        _SCENARIO + "an_engine_that_fails_to_sleep_or_to_wake_is_no_callers_fault",
    ),
)
