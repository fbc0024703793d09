from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from router.errors import DeadlineExceeded, EngineFailed
from router.ray.messages import AnswerEnd, AnswerHead, Errand, Item, Refused, RoutePlan
from router.ray.replica_call import ReplicaCall, ReplicaLost
from router.requests.deadlines import Deadlines
from router.requests.dialects import Problem
from router.requests.record import Record
from router.side_process import Body

HEAD = AnswerHead(200, {"content-type": "text/event-stream"}, streams=True)
WHOLE = AnswerHead(200, {"content-length": "4"}, streams=False)
DIED = ReplicaLost("ActorDiedError")
NEVER: list[Item | ReplicaLost] = []
Said = Sequence[Item | ReplicaLost]


class Scripted:
    """A replica's scripted output. After its end, the replica is silent."""

    def __init__(self, said: Said) -> None:
        self._said = [*said]
        self.cancelled = False

    async def next(self) -> Item:
        if not self._said:
            await asyncio.Event().wait()
        item = self._said.pop(0)
        if isinstance(item, ReplicaLost):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled = True


class ScriptedReplicas:
    """Each attempt meets the next replica: `a`, `b`, ..."""

    def __init__(self, *scripts: Said) -> None:
        self._scripts = [*scripts]
        self.names = ("a", "b", "c", "d")
        self.plans: list[RoutePlan] = []
        self.made: list[Scripted] = []

    async def send(self, plan: RoutePlan, errand: Errand, body: Body) -> Scripted:
        plan.replica = self.names[len(self.plans)]
        self.plans.append(plan)
        self.made.append(Scripted(self._scripts.pop(0)))
        return self.made[-1]


def call_of(
    replicas: ScriptedReplicas,
    *,
    stream: bool = True,
    record: Record | None = None,
    patience: float = 60.0,
) -> ReplicaCall:
    async def authorize() -> RoutePlan:
        return RoutePlan("model", "session")

    return ReplicaCall(
        replicas,
        authorize=authorize,
        errand=Errand("ingress", "/v1/chat/completions", "id", ""),
        body=lambda: b"{}",
        stream=stream,
        deadlines=Deadlines(patience, patience),
        record=record or Record(),
        clock=lambda: 0.0,
    )


async def read_all(call: ReplicaCall) -> bytes:
    await call.reach()
    answer = call.first
    while data := await call.read():
        answer += data
    return answer


async def test_an_answer_arrives_in_order() -> None:
    call = call_of(ScriptedReplicas([HEAD, b"a", b"b", AnswerEnd()]))
    assert await read_all(call) == b"ab"
    assert (call.status, call.streams) == (200, True)


@pytest.mark.parametrize(
    "before", [[], [HEAD], [HEAD, b": queued\n\n"]], ids=["silent", "head", "comment"]
)
async def test_a_replica_that_dies_before_the_first_byte_costs_nothing(before: Said) -> None:
    replicas = ScriptedReplicas([*before, DIED], [HEAD, b"a", AnswerEnd()])
    assert await read_all(call_of(replicas)) == b"a"
    assert [plan.avoid for plan in replicas.plans] == [(), ("a",)]


async def test_after_the_first_byte_the_request_is_not_sent_again() -> None:
    replicas, record = ScriptedReplicas([HEAD, b"a", DIED]), Record()
    with pytest.raises(EngineFailed, match="in the middle"):
        await read_all(call_of(replicas, record=record))
    assert (len(replicas.plans), record.died) == (1, True)


async def test_an_answer_without_an_end_is_not_whole() -> None:
    call = call_of(ScriptedReplicas([HEAD, b"a", ReplicaLost("it ended in the middle")]))
    with pytest.raises(EngineFailed):
        await read_all(call)


async def test_a_request_that_kills_replicas_ends() -> None:
    replicas = ScriptedReplicas([DIED], [DIED], [DIED], [HEAD, b"a", AnswerEnd()])
    with pytest.raises(EngineFailed, match="may be the cause"):
        await read_all(call_of(replicas))


@pytest.mark.parametrize(
    "first", [b": hm\n\ndata: a\n\n", b":"], ids=["with an event", "no whole comment"]
)
async def test_a_comment_takes_nothing_of_the_answer_along(first: bytes) -> None:
    assert await read_all(call_of(ScriptedReplicas([HEAD, first, AnswerEnd()]))) == first


async def test_an_answer_that_is_no_stream_has_no_comments() -> None:
    head, text = AnswerHead(200, {"content-type": "text/plain"}, streams=False), b": text\n\n"
    call = call_of(ScriptedReplicas([head, text, AnswerEnd()]), stream=False)
    assert await read_all(call) == text


async def test_a_replica_is_avoided_once_and_one_that_never_was_is_not() -> None:
    leaving = Refused(Problem(503, "leaving", "server_error"), leaving=True)
    replicas = ScriptedReplicas([leaving], [leaving], [leaving], [HEAD, b"a", AnswerEnd()])
    replicas.names = ("a", "", "a", "b")
    await read_all(call_of(replicas))
    assert replicas.plans[-1].avoid == ("a",)


async def test_a_replica_that_leaves_sends_the_request_on() -> None:
    refused = Refused(Problem(503, "leaving", "server_error"), leaving=True)
    replicas = ScriptedReplicas([refused], [HEAD, b"a", AnswerEnd()])
    assert await read_all(call_of(replicas)) == b"a"
    assert replicas.plans[1].avoid == ("a",)


async def test_a_refusal_is_a_problem() -> None:
    problem = Problem(404, "no", "invalid_request_error")
    call = call_of(ScriptedReplicas([Refused(problem)]))
    await call.reach()
    assert (call.problem, call.streams) == (problem, False)


async def test_a_refusal_in_the_middle_breaks_the_answer_off() -> None:
    call = call_of(ScriptedReplicas([HEAD, b"a", Refused(Problem(502, "why", "x"))]))
    with pytest.raises(EngineFailed, match="why"):
        await read_all(call)


async def test_a_body_of_known_length_ends_with_its_last_byte() -> None:
    call = call_of(ScriptedReplicas([WHOLE, b"ab", b"cd"]), stream=False)  # no end is sent
    assert await read_all(call) == b"abcd"


async def test_comments_tell_what_a_request_waits_for() -> None:
    replicas = ScriptedReplicas([HEAD, b": queued, about 9 s left\n\n"])
    call = call_of(replicas)
    assert str(call.progress()) == "authorizing"
    reaching = asyncio.create_task(call.reach())
    await _turns()
    assert str(call.progress()) == "queued, about 9 s left"
    reaching.cancel()


async def test_nothing_of_a_lost_attempt_is_told() -> None:
    replicas = ScriptedReplicas([HEAD, b": queued, about 9 s left\n\n", DIED], NEVER)
    call = call_of(replicas)
    reaching = asyncio.create_task(call.reach())
    await _turns()
    assert len(replicas.made) == 2
    assert str(call.progress()) == "queued"
    assert not call.streams
    reaching.cancel()


async def test_a_lost_attempt_is_ended_before_the_next_one() -> None:
    replicas = ScriptedReplicas([HEAD, DIED], [HEAD, b"a", AnswerEnd()])
    await read_all(call_of(replicas))
    assert [one.cancelled for one in replicas.made] == [True, False]


async def test_a_caller_that_leaves_ends_the_attempts() -> None:
    replicas = ScriptedReplicas([DIED], NEVER, [HEAD, b"a", AnswerEnd()])
    call = call_of(replicas)
    reaching = asyncio.create_task(call.reach())
    await _turns()
    reaching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reaching
    await call.close()
    await call.close()
    assert [one.cancelled for one in replicas.made] == [True, True]


async def test_a_refusal_after_comments_is_a_problem() -> None:
    problem = Problem(503, "no room", "server_error")
    call = call_of(ScriptedReplicas([HEAD, b": queued\n\n", Refused(problem)]))
    await call.reach()
    assert (call.problem, call.streams) == (problem, False)


@pytest.mark.parametrize(
    ("script", "cancelled"),
    [([HEAD, b"a"], True), ([WHOLE, b"abcd"], False), ([Refused(Problem(4, "", ""))], False)],
    ids=["unfinished", "whole", "refused"],
)
async def test_closing_ends_what_is_not_over(script: Said, cancelled: bool) -> None:
    replicas = ScriptedReplicas(script)
    call = call_of(replicas)
    await call.reach()
    await call.close()
    assert replicas.made[0].cancelled is cancelled


async def test_waiting_ends_at_the_deadline() -> None:
    call = call_of(ScriptedReplicas(NEVER), patience=0.0)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(call.reach(), 60.0)


@pytest.mark.parametrize("show", [repr, str])
def test_an_errand_shows_no_token(show: Callable[[object], str]) -> None:
    token = "hf_" + "x" * 20
    shown = show(Errand("ingress", "/generate", "id", "caller", token))
    assert token not in shown
    assert "Errand" in shown


async def _turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
