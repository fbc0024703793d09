"""An engine that sleeps is asked for nothing, and nothing that it knew is served afterwards."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap

_TEST = "tests/engines/test_sleep.py::test_"

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
)
