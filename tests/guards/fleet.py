"""Guards of routing in a fleet: models stay warm, and no worker is overloaded."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap, text, without

_ROUTING = "tests/fleet/test_routing.py::test_"
_RECIPE = "tests/fleet/test_by_model.py::test_"
_WARM = "tests/ray/test_warm_models.py::test_"

GUARDS = (
    Guard(
        "A cold model goes to the same worker from every ingress",
        "router.fleet.routing:Fleet._cold",
        swap("hashed(model)", "self._rng.getrandbits(64)"),
        _ROUTING + "the_same_cold_model_goes_to_the_same_worker_for_all_that_route",
    ),
    Guard(
        "A name has one place for all processes",
        "router.fleet.ring:hashed",
        body("return hash(text)"),
        _ROUTING + "a_name_has_its_place_in_every_process",
    ),
    Guard(
        "A burst for a cold model starts it once",
        "router.fleet.warm_index:WarmIndex.sent",
        never("place"),
        _ROUTING + "a_burst_for_a_cold_model_goes_to_one_worker_before_that_has_reported",
    ),
    Guard(
        "A cold model passes a worker that has more than its share of starts",
        "router.fleet.routing:Fleet._cold",
        swap("worker.starting < starting", "True"),
        _ROUTING + "a_cold_model_passes_a_worker_that_starts_another",
    ),
    Guard(
        "A cold model passes a worker that has more than its share of requests",
        "router.fleet.routing:Fleet._cold",
        swap("max(load, _)", "1 << 60"),
        _ROUTING + "a_cold_model_passes_a_worker_that_has_more_than_its_share_of_requests",
    ),
    Guard(
        "A cold model pushes out none that is in use, where another worker has room",
        "router.fleet.routing:Fleet._cold",
        swap("fit[-1] if fit[-1].room else fit[0]", "fit[0]"),
        _ROUTING + "a_cold_model_passes_a_worker_without_room",
    ),
    Guard(
        "A session leaves a worker that has more than its share",
        "router.fleet.routing:Fleet._sticky",
        swap("one.load < max(_, _)", "True"),
        _ROUTING + "a_session_leaves_a_worker_that_has_more_than_its_share[5]",
    ),
    Guard(
        "A session stays with one of several workers",
        "router.fleet.routing:Fleet._best",
        never("sticky"),
        _ROUTING + "a_session_stays_with_one_of_several_workers",
    ),
    Guard(
        "A warm model's queue is not waited for longer than a cold start takes",
        "router.fleet.routing:Fleet.choose",
        never("waits", "start", "names"),
        _ROUTING + "a_request_spills_when_the_queue_costs_more_than_a_cold_start",
    ),
    Guard(
        "No request spills to where it would wait for longer",
        "router.fleet.routing:Fleet.choose",
        without("_start_at"),
        _ROUTING + "a_request_does_not_spill_to_where_it_would_wait_for_longer",
    ),
    Guard(
        "A worker that has left gets nothing",
        "router.fleet.routing:Fleet.forget",
        drop("_warm", "forget"),
        _ROUTING + "a_worker_that_has_left_gets_nothing",
    ),
    Guard(
        "Callers share no session",
        "router.fleet.session:session_key",
        without("caller"),
        _ROUTING + "a_session_is_what_begins_alike_for_the_same_caller",
    ),
    Guard(
        "A session's key tells nothing of its prompt",
        "router.fleet.session:session_key",
        swap("blake2b(_, digest_size=16).hexdigest()", "text"),
        _ROUTING + "a_session_is_what_begins_alike_for_the_same_caller",
    ),
    Guard(
        "Warm models are published as digests, not by name",
        "router.ray.warm_models:label",
        body("return repo_id"),
        _WARM + "a_label_does_not_tell_the_name",
    ),
    Guard(
        "A model that makes room is published as gone",
        "router.ray.warm_models:_warmth",
        body("return _WARMTH.get(engine.state, Warmth.LOADED)"),
        _WARM + "models_are_published_with_their_warmth_and_load",
    ),
    Guard(
        "An engine that was used just now is no room",
        "router.ray.warm_models:_has_room",
        swap("report.now - one.last_used > _JUST_NOW", "True"),
        _WARM + "an_engine_that_nobody_uses_is_room",
    ),
    Guard(
        "A client of a RunPod fleet wishes for a worker, and does not insist",
        "examples.fleet.by_model:ByModel.chat",
        swap("{WORKER: wish}", "{WORKER: 'strict ' + wish}"),
        _RECIPE + "a_model_comes_back_to_its_worker_and_moves_where_that_is_gone",
    ),
    Guard(
        "A client of a RunPod fleet forgets a worker that is gone",
        "examples.fleet.by_model:ByModel._learn",
        drop("pop"),
        _RECIPE + "a_model_comes_back_to_its_worker_and_moves_where_that_is_gone",
    ),
    Guard(
        "A client of a RunPod fleet comes back to the worker that answered",
        "examples.fleet.by_model:ByModel._learn",
        drop("_homes", "worker", "model"),
        _RECIPE + "a_model_comes_back_to_its_worker_and_moves_where_that_is_gone",
    ),
    Guard(
        "The list of models names a RunPod worker as the load balancer does",
        "router.config.platform:worker_id",
        text("RUNPOD_POD_ID", "RUNPOD_ENDPOINT_ID"),
        "tests/config/test_platform.py::"
        "test_a_worker_has_the_id_by_which_the_load_balancer_knows_it",
    ),
)
