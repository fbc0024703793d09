"""A caller over its limits costs the others nothing."""

from __future__ import annotations

from tests.guards.guard import Guard

_FILE, _TEST = "router/scheduler/quotas.py", "tests/pool/test_quotas.py::test_"

GUARDS = (
    Guard(
        "so many cold starts a minute for a caller",
        _FILE,
        "if wait := self._starts.opens_in(caller, limits.max_starts_per_caller, now):",
        "if wait := 0.0:",
        _TEST + "a_caller_has_so_many_models_started_a_minute",
    ),
    Guard(
        "who joins a start is not charged for it",
        _FILE,
        "return slot.state in _DOWN and not slot.queue",
        "return slot.state in _DOWN",
        _TEST + "who_joins_a_start_is_not_charged_for_it",
    ),
    Guard(
        "so many models up for a caller alone",
        _FILE,
        "return idle[:over] if over <= len(idle) else None",
        "return idle[:over]",
        _TEST + "a_caller_that_uses_all_its_models_gets_no_other",
    ),
    Guard(
        "what a caller gives up is its own",
        _FILE,
        "            given_up.yielded_by_quota = True",
        "            pass",
        _TEST + "a_caller_over_its_models_gives_up_its_own_least_recently_used",
    ),
    Guard(
        "on a full worker its own engine makes room",
        "router/scheduler/planner.py",
        "return not victim.yielded_by_quota, victim.last_used",
        "return False, victim.last_used",
        _TEST + "on_a_full_worker_its_own_engine_makes_room_not_an_older_one_of_others",
    ),
    Guard(
        "what was given up is no way around the limit",
        _FILE,
        "not (slot.yielded_by_quota or _starts_with(slot))",
        "not _starts_with(slot)",
        _TEST + "what_was_given_up_is_no_way_around_the_limit",
    ),
    Guard(
        "a model that others use too is no single caller's",
        "router/scheduler/slots.py",
        "        if caller != self.starter:\n            self.starter = None\n",
        "",
        _TEST + "a_model_that_others_use_too_is_no_single_callers",
    ),
    Guard(
        "so many requests waiting for a caller",
        _FILE,
        "if not served and self._over_places(caller):",
        "if False:",
        _TEST + "a_caller_has_so_many_requests_waiting",
    ),
    Guard(
        "so many bytes an hour for a caller, also of downloads that fail or are given up",
        "router/pool/executor.py",
        "            self.progress.end(order.attempt)\n            charge()\n",
        "            self.progress.end(order.attempt)\n",
        _TEST + "bytes_are_charged_to_the_caller_for_whom_they_came[abandoned]",
    ),
    Guard(
        "and of those that go on",
        "router/pool/executor.py",
        "                told = now\n                charge()\n",
        "                told = now\n",
        _TEST + "a_long_download_is_charged_while_it_goes_on",
    ),
    Guard(
        "limits remember no more callers than they limit",
        _FILE,
        "            del self._charges[other]",
        "            pass",
        _TEST + "a_window_forgets_callers_with_whom_it_has_nothing_to_settle",
    ),
    Guard(
        "limits are for an API key, a token, or all who bring neither",
        "router/requests/service.py",
        'caller = request.caller or (token.digest if token else "")',
        "caller = request.caller",
        "tests/requests/test_service.py::"
        "test_limits_are_for_a_key_a_token_or_all_who_bring_neither[first4-second4-False]",
    ),
)
