"""Guards of a fleet on Ray: who gets in, and which parts of requests and answers travel."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import absent, body, drop, insert, never, set_to, swap

_SERVICE = "tests/ray/test_fleet_service.py::test_"
_ANSWERS = "tests/ray/test_answers.py::test_"
_CALL = "tests/ray/test_replica_call.py::test_"
_WINDOW = "tests/ray/test_window.py::test_"
_HANDLE = "tests/e2e_ray/test_handle.py::test_"
_RAY = "tests/e2e_ray/test_routing.py::test_"
_APPLICATION = "tests/e2e_ray/test_examples.py::test_"
_UP = "tests/commands/test_ray.py::test_"

GUARDS = (
    Guard(
        "An ingress authorizes a request before it sends it on",
        "router.ray.replica_call:ReplicaCall._reach",
        swap("await self._authorize()", "RoutePlan()"),
        _SERVICE + "what_is_refused_reaches_no_replica",
    ),
    Guard(
        "An ingress asks the Hub with the caller's token",
        "router.ray.fleet_service:FleetService._plan",
        swap("caller_token(_, _)", "None"),
        _SERVICE + "a_token_goes_beside_the_body[header]",
    ),
    Guard(
        "An ingress shows a loaded model to nobody who may not use it",
        "router.ray.fleet_service:FleetService.models",
        swap("hf_token", "None"),
        _SERVICE + "a_model_that_is_loaded_anywhere_is_shown_to_those_who_may_use_it",
    ),
    Guard(
        "A replica asks the Hub again, with the caller's token",
        "router.ray.answers:Answers._answer",
        swap("errand.hf_token", "None"),
        _ANSWERS + "a_replica_asks_the_hub_with_the_callers_own_token",
    ),
    Guard(
        "A replica knows a caller by its key",
        "router.ray.answers:Answers._answer",
        swap("self._keys.labelled(_)", "''"),
        _ANSWERS + "a_replica_knows_the_caller_by_the_name_of_the_key",
    ),
    Guard(
        "A replica takes no caller whose key it does not have",
        "router.access.keyring:Keyring.labelled",
        never("needed"),
        _ANSWERS + "a_replica_knows_the_caller_by_the_name_of_the_key",
    ),
    Guard(
        "Nothing shows the token that a request carries to a replica",
        "router.ray.messages:Errand.__repr__",
        absent(),
        _CALL + "an_errand_shows_no_token[repr]",
    ),
    Guard(
        "Ray's ports take no work without a token",
        "router.commands.ray:private",
        set_to("RAY_AUTH_MODE", "'disabled'"),
        _UP + "rays_ports_ask_for_a_token_that_is_new_each_time",
    ),
    Guard(
        "Ray's directory is closed to other users",
        "router.commands.ray:closed_place",
        swap("Path(tempfile.mkdtemp(prefix=_1))", "Path(tempfile.gettempdir()) / _1"),
        _UP + "rays_directory_is_closed_to_other_users_and_removed",
    ),
    Guard(
        "A body goes to a replica in pieces",
        "router.ray.handle:RayReplicas.send",
        swap("pieces(body)", "body"),
        _HANDLE + "a_body_goes_in_pieces_that_ray_keeps_out_of_its_object_store",
    ),
    Guard(
        "The largest body stays inside of its call",
        "router.app.fleet.application:application",
        set_to("runtime_env", "{'env_vars': {_INLINED: '1000'}}"),
        _APPLICATION + "the_largest_body_stays_inside_of_its_call",
    ),
    Guard(
        "An answer comes from a replica in pieces",
        "router.ray.answers:Answers._answer",
        swap("pieces(data)", "[data]"),
        _ANSWERS + "an_answer_that_nobody_reads_waits_at_the_engine",
    ),
    Guard(
        "An answer that nobody reads waits at its engine",
        "router.ray.answers:Answers._answer",
        drop("room"),
        _ANSWERS + "an_answer_that_nobody_reads_waits_at_the_engine",
    ),
    Guard(
        "What waits at an ingress counts with what Ray keeps beside it",
        "router.ray.window:weight",
        body("return len(piece)"),
        _WINDOW + "a_replica_sends_no_more_than_a_window_ahead[tiny]",
    ),
    Guard(
        "A replica hears how far an answer was read",
        "router.ray.window:ReadCount.due",
        body("return False"),
        _WINDOW + "a_reader_tells_often_enough_to_keep_an_answer_going",
    ),
    Guard(
        "A visit tells a replica how far answers were read",
        "router.ray.answers:Answers.visited",
        drop("took"),
        _ANSWERS + "a_visit_makes_room_too",
    ),
    Guard(
        "A replica hears of it later where it could not be told",
        "router.ray.handle:RayAnswering._tell_on",
        insert("self._read.told = taken", before="debug"),
        _HANDLE + "a_replica_hears_how_much_was_read_even_if_it_can_not_be_told_at_once",
    ),
    Guard(
        "Word of an answer goes to the replica that sends it",
        "router.ray.affinity:AffinityRouter.choose_replicas",
        never("Receipt"),
        _RAY + "word_of_an_answer_goes_to_its_own_replica",
    ),
    Guard(
        "Replicas that are full are asked again after a pause",
        "router.ray.affinity:AffinityRouter.choose_replicas",
        drop("should_backoff"),
        _RAY + "ray_pauses_before_it_asks_full_replicas_again",
    ),
)
