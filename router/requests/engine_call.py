"""One request to an engine: authorize it, lease an engine, send, read, and clean up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass

from router.clock import Clock
from router.errors import DeadlineExceeded, EngineFailed, HubUnavailable
from router.pool.lease import Lease
from router.pool.pool import EnginePool
from router.requests.authorization import Authorized, Authorizer, Sender
from router.requests.call import Call
from router.requests.deadlines import Deadlines, bound, out_of_time
from router.requests.dialects import Problem
from router.requests.engine_errors import hear_engine_error
from router.requests.fitting import check_engine
from router.requests.interfaces import (
    Upstream,
    UpstreamLost,
    UpstreamRequest,
    UpstreamResponse,
)
from router.requests.lost_engine import cut_off, died_midway, died_twice
from router.requests.read_timer import ReadTimer
from router.requests.record import Record
from router.requests.request import Progress, Report
from router.scheduler.forecast import Reason

# Stages with their own name in a progress report. All others are "queued", with the reason.
_STAGES = {reason: reason.value for reason in (Reason.FETCHING, Reason.STARTING, Reason.WAKING)}
_GLANCE = 1.0  # seconds for a waiting request to renew its authorization


@dataclass(frozen=True, slots=True)
class EngineAccess:
    """The shared dependencies of all calls.

    `progress_every`: seconds between progress reports. `hide_paths` cleans an engine's error
    messages.
    """

    pool: EnginePool
    upstream: Upstream
    authorizer: Authorizer
    clock: Clock
    hide_paths: Callable[[str], str]
    progress_every: float = 5.0


class EngineCall:
    """The `Source` of a response from an engine of this worker."""

    def __init__(
        self,
        access: EngineAccess,
        call: Call,
        sender: Sender,
        deadlines: Deadlines,
        *,
        report: Report | None,
        record: Record,
    ) -> None:
        self._access, self._call, self._sender = access, call, sender
        self._deadlines, self._report, self._record = deadlines, report, record
        self._timer = ReadTimer()  # for the first bytes
        self._authorized: Authorized | None = None
        self._lease: Lease | None = None
        self._exchange: AbstractAsyncContextManager[UpstreamResponse] | None = None
        self._answer: UpstreamResponse | None = None
        self.first = b""  # the first bytes of the body
        self.problem: Problem | None = None  # the engine's own error, in place of a body

    @property
    def answer(self) -> UpstreamResponse:
        """The head of the engine's answer. Call `reach` first."""
        assert self._answer is not None, "reach first"  # noqa: S101
        return self._answer

    @property
    def status(self) -> int:
        return self.answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.answer.headers

    @property
    def streams(self) -> bool:
        """Whether the engine answers with an event stream. Call `reach` first."""
        kind = self.answer.headers.get("content-type", "")
        return self.problem is None and kind.startswith("text/event-stream")

    async def reach(self) -> None:
        """Return when the engine has sent its first bytes. Raises `RouterError`.

        If the engine dies before that, the request is retried once, unnoticed by the caller.
        """
        authorizer = self._access.authorizer
        authorized = authorizer.recall(self._call, self._sender, self._record)
        if authorized is None:
            async with bound(self._deadlines.first_byte, self._access.clock):
                authorized = await authorizer.ask(self._call, self._sender, self._record)
        self._authorized = authorized
        try:
            await self._attempt(authorized, place=None)
        except UpstreamLost as lost:
            place = await self._give_back(lost)
        else:
            return
        # The first attempt may have taken long.
        await self._renew(authorized, self._deadlines.first_byte)
        try:
            await self._attempt(authorized, place)
        except UpstreamLost as lost:
            await self._give_back(lost)
            raise self._blame(died_twice(authorized.spec)) from None

    async def read(self) -> bytes:
        """Return more of the body; b"" when the answer is complete.

        Raises `EngineFailed` if the answer breaks off.
        """
        try:
            data = await self.answer.read()
        except UpstreamLost as lost:
            assert self._authorized is not None  # noqa: S101 - reached
            await self._give_back(lost)
            raise self._blame(died_midway(self._authorized.spec)) from None
        if data:
            self._record.saw(data)
        elif self._lease is not None:
            self._lease.answered = True
        return data

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        """Pass the body to `sink` as it arrives. Return False when `sink` takes no more.

        Returns True if `read` must be called next. Raises what `sink` raises.
        """
        try:
            return await self.answer.pour(sink)
        except UpstreamLost:
            return True

    async def close(self) -> None:
        """Stop the generation if it still runs, and release the engine."""
        self._timer.close()
        lease, self._lease = self._lease, None
        try:
            await self._end_exchange()
        finally:
            if lease is not None:
                lease.close()

    async def _end_exchange(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.__aexit__(None, None, None)

    def progress(self) -> Progress:
        """What the request is waiting for."""
        if self._authorized is None:
            return Progress("authorizing")
        if self._lease is not None and self._lease.is_granted:
            return Progress("generating")
        forecast, download = self._access.pool.view.forecast(self._authorized.spec.key)
        stage = _STAGES.get(forecast.reason, "queued")
        return Progress(stage, download.done, download.total, forecast.seconds, str(forecast))

    async def _attempt(self, authorized: Authorized, place: int | None) -> None:
        """Wait for an engine and send. `place`: the queue place of an earlier attempt."""
        deadlines = self._deadlines
        lease = self._lease = self._access.pool.lease(
            authorized.spec,
            authorized.admitted.download_credential,
            deadline=deadlines.first_byte,
            caller=authorized.caller,
            age=place,
        ).begin()
        try:
            if not lease.take():
                await self._wait(lease, authorized)
        except BaseException:
            self._record.gave_up(self._access.pool.waited(authorized.spec.key, lease))
            raise
        self._record.granted(lease.waited)
        # An answer in one piece may use all of the request's time.
        due = deadlines.first_byte if self._call.stream else deadlines.end
        left = max(0.0, due - self._access.clock())
        try:
            end = self._timer.now() + left
            await self._timer.read(self._send(lease, authorized), lambda: end)
        except TimeoutError:
            raise out_of_time() from None

    async def _wait(self, lease: Lease, authorized: Authorized) -> None:
        """Wait for the engine. Renew the authorization and report progress meanwhile."""
        waiting = not await lease.granted(within=self._access.progress_every)
        if not waiting:
            return
        while waiting:
            with suppress(HubUnavailable, DeadlineExceeded):  # asked again at the end
                await self._renew(authorized, self._access.clock() + _GLANCE)
            if self._report is not None:
                self._report(self.progress())
            waiting = not await lease.granted(within=self._access.progress_every)
        await self._renew(authorized, self._deadlines.first_byte)

    async def _renew(self, authorized: Authorized, until: float) -> None:
        """Raises `RouterError` if the caller lost its rights, and `DeadlineExceeded`."""
        async with bound(until, self._access.clock):
            await self._access.authorizer.renew(authorized, self._sender)

    async def _send(self, lease: Lease, authorized: Authorized) -> None:
        """Send, and wait for the first bytes of the body.

        SGLang sends the head before it generates anything, so an engine that dies after the
        head has not sent any of the answer.
        """
        call, engine = self._call, lease.engine
        check_engine(call, authorized.spec, engine)
        body = call.upstream_body(engine.served_name, authorized.salt)
        request = UpstreamRequest(
            engine.url + call.route.path, engine.port_key, body, self._record.trace
        )
        exchange = self._access.upstream.open(request)
        answer = await exchange.__aenter__()
        self._exchange = exchange
        if answer.status >= 400:
            self.problem = await hear_engine_error(answer, self._access.hide_paths)
            lease.answered = answer.status < 500
        else:
            self.first = await answer.read()
            self._record.begins(self.first)
            lease.answered = not self.first
        self._answer = answer

    async def _give_back(self, lost: UpstreamLost) -> int | None:
        """End the lease of an engine that may be dead. Return its place in the queue."""
        lease, self._lease = self._lease, None
        if lease is None:
            return None
        try:
            if not lost.reached:
                lease.forgo()
                lease.close()  # so that it does not count as in flight when the engine crashes
            if self._access.pool.has_cut_off(lease):
                self._record.cut_off = True
            else:
                await self._access.pool.suspect(lease)
        finally:
            lease.close()
            await self._end_exchange()
        return lease.age

    def _blame(self, died: EngineFailed) -> EngineFailed:
        """Choose the error for an answer that broke off: the engine died, or this worker
        stopped it."""
        if self._record.cut_off:
            return cut_off()
        self._record.died = True
        return died
