from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError, RayError, TaskCancelledError
from ray.serve._private.common import DeploymentID
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException

from router.ray.handle import RayAnswering, RayReplicas
from router.ray.messages import Errand, ReplicaState, RoutePlan
from router.ray.replica_call import ReplicaLost
from router.ray.window import WINDOW
from tests.eventually import eventually


class Answer:
    """What Ray's handle returns: items of a queue."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[bytes | BaseException] = asyncio.Queue()
        self.cancelled = False

    async def __anext__(self) -> bytes:
        item = await self.items.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def cancel(self) -> None:
        self.cancelled = True


async def untold(taken: int) -> None:
    pass


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    answer = Answer()
    answering = RayAnswering(answer, untold)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await answering.next()
    answer.items.put_nowait(b"one")
    answer.items.put_nowait(b"two")
    async with asyncio.timeout(60.0):
        assert [await answering.next(), await answering.next()] == [b"one", b"two"]


@pytest.mark.parametrize(
    "error",
    [ActorDiedError(), TaskCancelledError(), StopAsyncIteration(), asyncio.CancelledError()],
)
async def test_an_end_without_an_end_is_a_loss(error: BaseException) -> None:
    answer = Answer()
    answer.items.put_nowait(error)
    with pytest.raises(ReplicaLost):
        await RayAnswering(answer, untold).next()


@pytest.mark.parametrize(
    ("error", "taken"), [(ActorDiedError(), True), (RayServeException("no replica"), False)]
)
async def test_it_is_known_whether_a_replica_may_have_seen_the_request(
    error: Exception, taken: bool
) -> None:
    answer = Answer()
    answer.items.put_nowait(error)
    with pytest.raises(ReplicaLost) as lost:
        await RayAnswering(answer, untold).next()
    assert lost.value.taken is taken


async def test_what_ray_says_of_an_error_is_not_repeated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = Answer()
    answer.items.put_nowait(RayError("with a secret"))
    with pytest.raises(ReplicaLost) as lost:
        await RayAnswering(answer, untold).next()
    assert "secret" not in str(lost.value)
    assert "secret" not in caplog.text
    assert caplog.text


async def test_what_nobody_waits_for_is_cancelled() -> None:
    answer = Answer()
    answering = RayAnswering(answer, untold)
    reading = asyncio.create_task(answering.next())
    await asyncio.sleep(0)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert answer.cancelled


async def test_leaving_a_call_that_found_no_replica_raises_nothing() -> None:
    class Failed(Answer):
        def cancel(self) -> None:  # Ray raises the error of the call
            raise DeploymentUnavailableError(DeploymentID("engines"))

    answer = Failed()
    answer.items.put_nowait(RayServeException("no replica"))
    answering = RayAnswering(answer, untold)
    with pytest.raises(ReplicaLost):
        await answering.next()
    answering.cancel()


async def test_what_ray_says_to_a_caller_that_left_is_logged_nowhere(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Talkative(Answer):
        async def __anext__(self) -> bytes:
            try:
                return await super().__anext__()
            except asyncio.CancelledError:
                raise RayError("with a secret") from None

    answering = RayAnswering(Talkative(), untold)
    reading = asyncio.create_task(answering.next())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    answering.cancel()
    del answering, reading
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert not caplog.text


async def test_a_replica_hears_how_much_was_read_even_if_it_can_not_be_told_at_once() -> None:
    answer, told = Answer(), list[int]()

    async def tell(taken: int) -> None:
        told.append(taken)
        if len(told) == 1:
            raise RayServeException("no replica")

    answering = RayAnswering(answer, tell)
    for _ in range(2):
        answer.items.put_nowait(bytes(WINDOW))
    await answering.next()
    await eventually(lambda: len(told) == 2)
    assert told[0] == told[1] >= WINDOW
    await answering.next()
    await eventually(lambda: len(told) == 3)
    assert told[2] == 2 * told[0]


async def test_a_body_goes_in_pieces_that_ray_keeps_out_of_its_object_store() -> None:
    handle, sent = BusyHandle(), list[bytes]()

    def respond(_: RoutePlan, errand: Errand, *parts: bytes) -> Answer:
        sent.extend(parts)
        return handle.answer

    handle.respond = SimpleNamespace(remote=respond)
    body = (bytes(1_000_000), b"x", b"y" * 70_000)
    await RayReplicas(handle).send(RoutePlan(), Errand("ingress", "/", "id", ""), body)
    assert b"".join(sent) == b"".join(body)
    assert {type(one) for one in sent} == {bytes}
    assert max(map(len, sent)) <= 64 * 1024


async def test_each_attempt_has_an_answer_of_its_own() -> None:
    handle, names = BusyHandle(), list[str]()

    def respond(_: RoutePlan, errand: Errand, *parts: bytes) -> Answer:
        names.append(errand.answer)
        return handle.answer

    handle.respond = SimpleNamespace(remote=respond)
    replicas = RayReplicas(handle)
    for _ in range(2):
        await replicas.send(RoutePlan(), Errand("ingress", "/", "id", ""), b"")
    assert len(set(names)) == 2


class BusyHandle:
    """A handle of replicas that accept visits, but never report how far an answer was read."""

    def __init__(self) -> None:
        self.answer, self.visits = Answer(), list[Mapping[str, int]]()
        self.respond = SimpleNamespace(remote=lambda *_: self.answer)
        self.took = SimpleNamespace(remote=lambda _: asyncio.Event().wait())

    def options(self, **_: object) -> BusyHandle:
        return self

    def broadcast(self, _: str, ingress: str, read: Mapping[str, int]) -> Any:
        self.visits.append(read)

        async def results(**_: object) -> list[object]:
            return []

        return SimpleNamespace(results_async=results)


async def test_a_visit_tells_how_far_answers_were_read_where_nothing_else_gets_through() -> (
    None
):
    handle = BusyHandle()
    replicas = RayReplicas(handle)
    answering = await replicas.send(RoutePlan(), Errand("ingress", "/", "id", ""), b"")
    await replicas.visit("ingress")
    handle.answer.items.put_nowait(bytes(WINDOW))
    await answering.next()
    await replicas.visit("ingress")
    answering.cancel()
    await replicas.visit("ingress")
    before, told, after = handle.visits
    assert [*told.values()] == [answering.taken]
    assert not before
    assert not after


class SilentHandle(BusyHandle):
    """A handle of two replicas. While `b` is silent, `results_async` returns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.is_silent, self.avoided = False, list[tuple[str, ...]]()
        self.respond = SimpleNamespace(remote=self._respond)

    def broadcast(self, *_: object) -> Any:
        a, b = (ReplicaState(True, replica=name) for name in "ab")

        async def results_async(**_: object) -> list[object]:
            if self.is_silent:
                raise TimeoutError
            return [a, b]

        def results(**_: object) -> list[object]:
            assert not asyncio._get_running_loop(), "Ray refuses this"
            return [a, GetTimeoutError() if self.is_silent else b]

        return SimpleNamespace(results_async=results_async, results=results)

    def _respond(self, plan: RoutePlan, *_: object) -> Answer:
        self.avoided.append(plan.avoid)
        return self.answer


async def test_a_silent_replica_hides_no_other_and_gets_no_request_until_it_answers() -> None:
    handle = SilentHandle()
    replicas, seen = RayReplicas(handle), list[list[str]]()
    for silent in (False, True, False):
        handle.is_silent = silent
        seen.append([one.replica for one in await replicas.visit("ingress")])
        await replicas.send(RoutePlan(avoid=("c",)), Errand("ingress", "/", "id", ""), b"")
    assert seen == [["a", "b"], ["a"], ["a", "b"]]
    assert handle.avoided == [("c",), ("c", "b"), ("c",)]


async def test_a_visit_before_any_replica_is_known_says_so() -> None:
    class Unknown(BusyHandle):
        def broadcast(self, *_: object) -> Any:
            async def results_async(**_: object) -> list[object]:
                raise TimeoutError

            def results(**_: object) -> list[object]:
                raise CancelledError  # Ray's call was canceled with the first attempt

            return SimpleNamespace(results_async=results_async, results=results)

    with pytest.raises(ReplicaLost):
        await RayReplicas(Unknown()).visit("ingress")


async def test_other_work_goes_on_while_a_large_body_is_handed_over() -> None:
    handle, turns = BusyHandle(), 0
    sending = asyncio.create_task(
        RayReplicas(handle).send(RoutePlan(), Errand("ingress", "/", "id", ""), bytes(32 << 20))
    )
    while not sending.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 32  # of one megabyte each
