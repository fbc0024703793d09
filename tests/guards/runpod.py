"""Guards: the worker sends RunPod's queue nothing that the queue refuses."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, never, swap

_LIMITS = "tests/runpod/test_limits.py::test_"

GUARDS = (
    Guard(
        "An answer that RunPod refuses is not posted",
        "router.runpod.result:WholeResult._check",
        body("return"),
        _LIMITS + "an_answer_that_is_as_large_as_the_limit_is_posted",
    ),
    Guard(
        "An answer near the limit is measured as it will be posted",
        "router.runpod.result:WholeResult.output",
        never("at_most"),
        _LIMITS + "an_answer_that_is_as_large_as_the_limit_is_posted",
    ),
    Guard(
        "Of an answer that is too large, no more is kept",
        "router.runpod.result:WholeResult.add",
        never("sent"),
        _LIMITS + "of_an_answer_that_is_too_large_nothing_is_kept",
    ),
    Guard(
        "A stream whose result RunPod refuses fails once it is over",
        "router.runpod.result:StreamedResult.check",
        body("return"),
        _LIMITS + "a_stream_over_the_limit_has_both_sizes",
    ),
    Guard(
        "Where the kind of a job is not known, the smaller limit holds",
        "router.runpod.limits:result_limit",
        body("return _MOST_SYNCHRONOUS"),
        _LIMITS + "the_id_tells_what_runpod_takes_and_the_least_holds_where_it_does_not",
    ),
    Guard(
        "An answer that is no stream is posted once",
        "router.runpod.worker:post_whole_answers_once.stream_result",
        body("await post(session, output, job)"),
        "tests/e2e_runpod/test_limits.py::test_embeddings_that_fit_are_posted_once",
    ),
    Guard(
        "A queue worker takes jobs beyond those that one caller may have in flight",
        "router.commands.serve:serve",
        swap("places + left_free(places)", "places"),
        "tests/e2e_runpod/test_fair_places.py::"
        "test_long_jobs_of_one_caller_leave_another_one_a_place",
    ),
)
