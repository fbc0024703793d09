"""Guards: the operator's settings for groups and for single models are kept."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, swap

_TEST = "tests/scheduler/test_groups.py::test_"

GUARDS = (
    Guard(
        "Of a group, no more models are loaded than it allows",
        "router.scheduler.group_rules:LoadedGroups.bar",
        swap("own >= most", "False"),
        _TEST + "of_a_group_the_next_model_takes_the_place_of_the_loaded_one",
    ),
    Guard(
        "Beside a model of an exclusive group, no other is loaded",
        "router.scheduler.group_rules:LoadedGroups.excluded",
        body("return None"),
        _TEST + "all_others_leave_for_an_exclusive_group_one_by_one",
    ),
    Guard(
        "Models behind one that waits for its group do not take its turn",
        "router.scheduler.ledger:Ledger.count_as_loaded",
        body("return"),
        _TEST + "until_an_engine_may_leave_no_later_model_takes_its_groups_place",
    ),
    Guard(
        "A caller with an engine of its own gets its turn in a group",
        "router.scheduler.candidates:_bars",
        body("return False"),
        _TEST + "a_caller_with_an_engine_of_its_own_gets_its_turn_in_a_group",
    ),
    Guard(
        "No process stands by beside a model of an exclusive group",
        "router.scheduler.ahead:prestarts",
        swap("stay.excluded(one.spec.group) is None", "True").nth(1, of=2),
        _TEST + "beside_an_exclusive_group_no_process_of_another_stands_by",
    ),
    Guard(
        "Engines that a new group parts do not stay together",
        "router.scheduler.updates:Updates._part",
        body("return []"),
        _TEST + "engines_that_a_new_group_parts_leave_but_for_one",
    ),
    Guard(
        "A request brings no rules back that the operator has changed",
        "router.pool.operation:OperatedEngines.kept_to_rules",
        body("return spec"),
        "tests/pool/test_rules.py::"
        "test_a_request_that_is_tried_again_brings_no_former_rules_back",
    ),
    Guard(
        "A model's own limit of requests at once holds",
        "router.scheduler.state:Slot.most",
        body("return limits.max_concurrency"),
        _TEST + "a_model_takes_as_many_requests_at_once_as_its_own_limit_says",
    ),
    Guard(
        "A model's own limit of waiting requests holds",
        "router.scheduler.state:Slot.line_is_full",
        body("return False"),
        _TEST + "a_request_beyond_a_models_own_queue_is_refused_at_once",
    ),
    Guard(
        "A model that is never evicted keeps no other of its group out for ever",
        "router.config.models_file:_kept_out",
        body("return ''"),
        "tests/config/test_groups.py::test_a_pin_that_keeps_others_of_a_group_out_is_refused",
    ),
)
