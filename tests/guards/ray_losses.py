"""Guards of a fleet on Ray: what survives the loss of a replica, an ingress or a caller."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import (
    always,
    body,
    drop,
    insert,
    never,
    set_to,
    swap,
    unwrap,
    value,
    without,
)

_ANSWERS = "tests/ray/test_answers.py::test_"
_CALL = "tests/ray/test_replica_call.py::test_"
_ORPHANS = "tests/ray/test_orphans.py::test_"
_HANDLE = "tests/e2e_ray/test_handle.py::test_"
_RAY = "tests/e2e_ray/test_routing.py::test_"
_APPLICATION = "tests/e2e_ray/test_examples.py::test_"

GUARDS = (
    Guard(
        "A lost replica's request goes to another one",
        "router.ray.replica_call:ReplicaCall._reach",
        without("plan", "replica"),
        _CALL + "a_replica_that_dies_before_the_first_byte_costs_nothing[head]",
    ),
    Guard(
        "A request router avoids where a request was lost",
        "router.ray.affinity:AffinityRouter.choose_replicas",
        swap("name not in plan.avoid", "True"),
        _RAY + "an_attempt_avoids_where_one_before_it_was_lost",
    ),
    Guard(
        "A request that kills replicas ends after three of them",
        "router.ray.replica_call:_ATTEMPTS",
        value("4"),
        _CALL + "a_request_that_kills_replicas_ends",
    ),
    Guard(
        "A replica that is leaving costs none of these attempts",
        "router.ray.replica_call:ReplicaCall._reach",
        swap("failure.taken", "True").nth(1, of=2),
        _CALL + "a_replica_is_avoided_once_and_one_that_never_was_is_not",
    ),
    Guard(
        "A replica that is leaving sends the request on",
        "router.ray.replica_call:ReplicaCall._send",
        never("leaving"),
        _CALL + "a_replica_that_leaves_sends_the_request_on",
    ),
    Guard(
        "A replica says that it is leaving",
        "router.ray.answers:Answers._refused",
        set_to("leaving", "False"),
        _ANSWERS + "a_refusal_tells_whether_the_replica_is_leaving[True]",
    ),
    Guard(
        "A stream that failed before its first event is refused, and can go elsewhere",
        "router.ray.answers:Answers._answer",
        never("failure", "begun"),
        _ANSWERS + "a_stream_that_fails_after_comments_alone_is_refused",
    ),
    Guard(
        "Comments before an answer don't keep its request at a replica that dies",
        "router.ray.messages:is_comment",
        body("return False"),
        _CALL + "a_replica_that_dies_before_the_first_byte_costs_nothing[comment]",
    ),
    Guard(
        "A comment takes nothing of an answer along",
        "router.ray.messages:is_comment",
        body("return piece.startswith(b':')"),
        _CALL + "a_comment_takes_nothing_of_the_answer_along[with an event]",
    ),
    Guard(
        "Nothing is told of an attempt that was lost",
        "router.ray.replica_call:ReplicaCall._send",
        drop("_head", "_told"),
        _CALL + "nothing_of_a_lost_attempt_is_told",
    ),
    Guard(
        "A lost attempt is ended before the next one",
        "router.ray.replica_call:ReplicaCall._reach",
        drop("close"),
        _CALL + "a_lost_attempt_is_ended_before_the_next_one",
    ),
    Guard(
        "After its first byte, a lost answer is an error, and never taken for whole",
        "router.ray.replica_call:ReplicaCall.read",
        insert("return b''", before="died"),
        _CALL + "after_the_first_byte_the_request_is_not_sent_again",
    ),
    Guard(
        "An answer that Ray ends without its end is lost",
        "router.ray.handle:RayAnswering.next",
        never("cancelled"),
        _HANDLE + "an_end_without_an_end_is_a_loss[error3]",
    ),
    Guard(
        "A request that no replica has seen is not counted as lost",
        "router.ray.handle:RayAnswering.next",
        swap("isinstance(error, RayError)", "True"),
        _HANDLE + "it_is_known_whether_a_replica_may_have_seen_the_request[error1-False]",
    ),
    Guard(
        "A replica that died is forgotten at once",
        "router.ray.affinity:AffinityRouter.on_replica_actor_died",
        drop("_forget"),
        _RAY + "a_replica_that_died_is_forgotten",
    ),
    Guard(
        "A rolling update gives requests the time to end",
        "router.app.fleet.application:application",
        set_to("graceful_shutdown_timeout_s", "20.0"),
        _APPLICATION + "a_replica_and_an_ingress_get_the_time_to_drain",
    ),
    Guard(
        "A request waits for a replica no longer than its deadline",
        "router.ray.replica_call:ReplicaCall.reach",
        unwrap("timeout"),
        _CALL + "waiting_ends_at_the_deadline",
    ),
    Guard(
        "A caller that leaves ends its request at the replica",
        "router.ray.replica_call:ReplicaCall.close",
        never("answering"),
        _CALL + "closing_ends_what_is_not_over[unfinished]",
    ),
    Guard(
        "A call that found no replica can be left",
        "router.ray.handle:RayAnswering.cancel",
        unwrap("suppress"),
        _HANDLE + "leaving_a_call_that_found_no_replica_raises_nothing",
    ),
    Guard(
        "What Ray says to a caller that left is logged nowhere",
        "router.ray.handle:RayAnswering.next",
        drop("add_done_callback"),
        _HANDLE + "what_ray_says_to_a_caller_that_left_is_logged_nowhere",
    ),
    Guard(
        "Ray's own words are in no log",
        "router.ray.handle:RayAnswering.next",
        swap("type(error).__name__", "str(error)").nth(1, of=2),
        _HANDLE + "what_ray_says_of_an_error_is_not_repeated",
    ),
    Guard(
        "A read that is cancelled loses nothing of an answer",
        "router.ray.handle:RayAnswering.next",
        always("_reading", "None"),
        _HANDLE + "a_read_that_is_cancelled_loses_nothing",
    ),
    Guard(
        "The requests of an ingress that is gone end",
        "router.ray.orphans:Orphans.look",
        drop("cancel"),
        _ORPHANS + "the_requests_of_a_silent_ingress_end",
    ),
    Guard(
        "An ingress that visits is not gone",
        "router.ray.answers:Answers.visited",
        drop("hear"),
        _ANSWERS + "the_answer_for_an_ingress_that_is_gone_ends",
    ),
    Guard(
        "A replica that stood still takes no ingress for gone",
        "router.ray.orphans:SILENT_LOOKS",
        value("1"),
        _ORPHANS + "an_ingress_that_was_taken_for_gone_can_come_back",
    ),
)
