"""Guards: while another caller waits, each caller's share is bounded, without any setting."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, without

_WAITING = "tests/scheduler/test_waiting.py::test_"
_TURNS = "tests/scheduler/test_turns.py::test_"
_POOL = "tests/pool/test_quotas.py::test_"
_STARTS = "tests/pool/test_fair_starts.py::test_"
_FAIRNESS = "tests/scheduler/test_fairness.py::test_"

GUARDS = (
    Guard(
        "A free place goes to the caller with the fewest requests in flight",
        "router.scheduler.turns:TurnOrder._place",
        swap("self._held[caller]", "0"),
        _POOL + "of_two_callers_the_one_with_fewer_requests_in_flight_is_next",
    ),
    Guard(
        "Places that become free at once are dealt in turn",
        "router.scheduler.turns:TurnOrder.took",
        swap("1", "0").nth(2, of=2),
        _TURNS + "places_are_dealt_by_what_each_caller_has_by_then",
    ),
    Guard(
        "A caller with a long backlog does not have every turn of an engine with one place",
        "router.scheduler.turns:TurnOrder._place",
        swap("self._last.get(_, _)", "0"),
        _TURNS + "one_place_goes_round_the_callers_whatever_their_backlogs_are",
    ),
    Guard(
        "A caller's requests in flight are limited for each engine",
        "router.scheduler.turns:TurnOrder.next",
        never("most", "held"),
        _TURNS + "no_caller_gets_more_places_than_it_may_have",
    ),
    Guard(
        "A new request does not pass by the limit of requests in flight",
        "router.scheduler.state:Slot.accepts",
        swap("sum(_) < most", "True"),
        _POOL + "a_callers_requests_in_flight_are_limited_for_each_engine",
    ),
    Guard(
        "Callers that share an engine leave places free for each other",
        "router.scheduler.state:Slot.most_of_one",
        never("shared"),
        _POOL + "callers_that_share_an_engine_leave_places_free_for_each_other",
    ),
    Guard(
        "A caller with an engine of its own takes none from a caller with no more",
        "router.scheduler.fairness:Holdings.may_take",
        body("return True"),
        "tests/scheduler/test_fairness.py::"
        "test_a_caller_with_an_engine_of_its_own_takes_none_from_a_caller_with_no_more",
    ),
    Guard(
        "In a full queue, another caller's request takes a place of the caller with the most",
        "router.scheduler.waiting:QueuePlaces.given_up_for",
        body("return None"),
        _POOL + "a_caller_with_many_waiting_requests_gives_up_its_newest_for_another_caller",
    ),
    Guard(
        "A caller with as many places as the others takes none of theirs",
        "router.scheduler.waiting:QueuePlaces.given_up_for",
        swap("self.of(caller) + 2", "0"),
        _WAITING + "no_place_is_given_up_for_a_caller_that_would_have_as_many",
    ),
    Guard(
        "The operator's own requests give up no place",
        "router.scheduler.waiting:QueuePlaces._rank",
        never("caller"),
        _WAITING + "the_operators_requests_and_those_tried_again_give_up_no_place",
    ),
    Guard(
        "A start that nobody waits for gives way to one that somebody waits for",
        "router.scheduler.fairness:gives_way_at",
        swap("_comes_back_by(start, limits)", "inf"),
        _STARTS + "a_start_that_nobody_waits_for_gives_way_at_once",
    ),
    Guard(
        "A start goes on for a caller that has waited for it and may come back",
        "router.scheduler.fairness:_comes_back_by",
        body("return start.started_at"),
        "tests/scheduler/test_impatient.py::"
        "test_callers_that_wait_for_less_than_a_start_takes_are_served[1]",
    ),
    Guard(
        "A start that nobody waits for ends",
        "router.scheduler.serving_slot:ServingSlot._linger",
        swap("(State.FETCHING, State.STARTING)", "(State.FETCHING,)"),
        _STARTS + "a_start_that_nobody_waits_for_ends_after_a_while",
    ),
    Guard(
        "A stranger's start has a time of its own while another caller waits",
        "router.scheduler.fairness:gives_way_at",
        always("listed"),
        _STARTS + "a_contested_start_ends_when_its_time_is_over",
    ),
    Guard(
        "Nobody contests the start of the operator's model, or of the only caller's",
        "router.scheduler.fairness:gives_way_at",
        without("listed"),
        _STARTS + "only_another_caller_contests_a_start_and_none_the_operators_model[True]",
    ),
    Guard(
        "The start of a pinned model never gives way",
        "router.scheduler.fairness:gives_way_at",
        never("pinned"),
        _FAIRNESS + "the_start_of_a_pinned_model_never_gives_way",
    ),
    Guard(
        "The seconds of a start count for its caller, however it ends",
        "router.scheduler.moving_slot:MovingSlot._move",
        never("STARTING"),
        _STARTS + "failed_and_abandoned_starts_are_charged_in_full",
    ),
    Guard(
        "Models of a caller that started much wait for those of others",
        "router.scheduler.view:View.in_turn",
        never("over"),
        _STARTS + "the_models_of_a_caller_that_started_much_wait_for_those_of_others",
    ),
    Guard(
        "Of callers that started much, the one that started least goes first",
        "router.scheduler.view:View.turn",
        swap("self.starts.overdraft(_, _)", "0.0"),
        _FAIRNESS + "of_callers_that_started_much_the_one_that_started_least_goes_first",
    ),
    Guard(
        "An engine that makes room does not start again before the model that it made room for",
        "router.scheduler.candidates:Candidates._goes_first",
        swap("self._view.turn(victim) < self._view.turn(slot)", "victim.age < slot.age"),
        _FAIRNESS
        + "an_engine_drains_for_a_request_whose_turn_comes_before_those_that_wait_for_it",
    ),
    Guard(
        "Downloads that nobody waits for go when others need their places",
        "router.scheduler.decisions:Decisions._make_way",
        swap("crowded_out(_, _)", "()"),
        _STARTS + "downloads_that_nobody_waits_for_go_when_others_need_their_places",
    ),
    Guard(
        "The caller with the most engines makes room first",
        "router.scheduler.fairness:Holdings.rank",
        swap("self._held[holder]", "1"),
        _STARTS + "the_caller_with_the_most_engines_makes_room_for_another",
    ),
    Guard(
        "Start seconds are forgotten, and their callers with them",
        "router.scheduler.fairness:StartSeconds.charge",
        drop("del"),
        _FAIRNESS + "callers_are_forgotten_some_time_after_their_last_start",
    ),
    Guard(
        "An idle engine of a caller with no more is not taken, whatever its loss would cost",
        "router.scheduler.candidates:Candidates.of",
        swap("holdings.may_take(slot, victim)", "True"),
        _FAIRNESS + "no_callers_only_engine_goes_for_a_caller_with_one_because_it_is_idle",
    ),
    Guard(
        "A model keeps its turn after its waiters have left",
        "router.scheduler.state:Slot.age",
        swap("min(self.turn, oldest)", "oldest"),
        "tests/scheduler/test_scenarios.py::"
        "test_a_turn_outlives_its_waiters_for_ten_minutes[300.0-first0]",
    ),
    Guard(
        "Claims stay within the budget",
        "router.scheduler.placement:Room.fits",
        swap("slot.claim > self.memory[device]", "False"),
        "tests/scheduler/test_planner.py::test_no_more_engines_are_evicted_than_necessary",
    ),
    Guard(
        "A model of several devices gets them, though others could start on each",
        "router.scheduler.ledger:Ledger.promise",
        body("pass"),
        "tests/scheduler/test_several_devices.py::"
        "test_no_engine_starts_that_would_keep_a_model_of_several_devices_from_all_of_them"
        "[1.9-False]",
    ),
    Guard(
        "One engine at a time takes or frees memory of a device",
        "router.scheduler.ledger:Ledger.moves",
        body("return False"),
        "tests/scheduler/test_several_devices.py::"
        "test_engines_load_one_after_the_other_on_one_device",
    ),
    Guard(
        "An engine that sleeps wakes on its own devices",
        "router.scheduler.view:View.places",
        never("claims"),
        "tests/scheduler/test_several_devices.py::test_a_sleeper_wakes_where_it_sleeps",
    ),
    Guard(
        "A model's claim has room for its cache",
        "router.scheduler.memory:_of_a_token",
        body("return plan.token"),
        "tests/scheduler/test_memory.py::"
        "test_a_model_with_a_state_for_each_request_is_planned_with_some_of_them",
    ),
)
