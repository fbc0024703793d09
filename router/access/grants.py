"""Grants: the operator's models, for callers without a token of their own.

A grant older than a minute is checked before its next use. Only a refusal by the Hub withdraws
it; if the Hub does not answer in time, the grant stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from router.access.credentials import ChosenToken
from router.clock import Clock
from router.errors import HubLimited, HubUnavailable, RouterError
from router.hub.interfaces import Asker, HubAnswer
from router.models import ModelRef, ResolvedModel

_log = logging.getLogger(__name__)

RECHECK = 60.0  # seconds for which a check holds
AHEAD = 15.0  # seconds; a model in use is checked in the background that long before the end
PATIENCE = 2.0  # seconds; requests wait for a check at most that long after its start

Ask = Callable[[ModelRef, ChosenToken, Asker], Awaitable[HubAnswer[ResolvedModel]]]

_FIRST, _AGAIN = Asker(reserved=True), Asker(reserved=True, fresh=True)


@dataclass(slots=True)
class _Grant:
    answer: HubAnswer[ResolvedModel]  # when it ends, the next use starts a check
    holds_until: float  # after that, requests wait for the check
    check: asyncio.Task[None] | None = None
    began: float = 0.0  # start of the check, in the event loop's time

    def renew(self, model: ResolvedModel, due: float, until: float) -> None:
        self.answer, self.holds_until = HubAnswer(model, due), until


class Grants:
    """The grants, one for each of the operator's references."""

    def __init__(self, ask: Ask, clock: Clock, patience: float = PATIENCE) -> None:
        self._ask, self._clock, self._patience = ask, clock, patience
        self._grants: dict[ModelRef, _Grant] = {}
        self._checks: set[asyncio.Task[None]] = set()

    async def get(self, ref: ModelRef, choice: ChosenToken) -> HubAnswer[ResolvedModel]:
        """The model, checked if need be. Raises the Hub's refusal."""
        grant = self._grants.get(ref)
        if grant is None:
            grant = self._grants[ref] = await self._first(ref, choice)
        if self._clock() >= grant.answer.until and grant.check is None:
            self._begin(ref, grant, choice)
        if self._clock() >= grant.holds_until and grant.check is not None:
            waited = asyncio.get_running_loop().time() - grant.began
            await asyncio.wait([grant.check], timeout=max(0.0, self._patience - waited))
            if self._grants.get(ref) is not grant:  # withdrawn: ask again for the reason
                return await self.get(ref, choice)
        return grant.answer

    def invalidate(self) -> None:
        """Check every grant again before its next use. The result of a running check is
        ignored."""
        for grant in self._grants.values():
            grant.answer.end()
            grant.holds_until, grant.check = grant.answer.until, None

    async def close(self) -> None:
        """Cancel running checks and wait for them."""
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    async def _first(self, ref: ModelRef, choice: ChosenToken) -> _Grant:
        answer = await self._ask(ref, choice, _FIRST)
        now = self._clock()
        until = answer.until if answer.until > now else now + RECHECK
        return _Grant(HubAnswer(answer.value, until - AHEAD), until)

    def _begin(self, ref: ModelRef, grant: _Grant, choice: ChosenToken) -> None:
        loop = asyncio.get_running_loop()
        grant.began = loop.time()
        grant.check = loop.create_task(self._check(ref, grant, choice))
        self._checks.add(grant.check)
        grant.check.add_done_callback(self._checks.discard)

    async def _check(self, ref: ModelRef, grant: _Grant, choice: ChosenToken) -> None:
        model, due = grant.answer.value, self._clock() + RECHECK - AHEAD
        try:
            model = (await self._ask(ref, choice, _AGAIN)).value
        except HubUnavailable as error:
            # `HubWatch` logs once that the Hub does not answer at all.
            level = logging.WARNING if isinstance(error, HubLimited) else logging.DEBUG
            _log.log(level, "the Hub can't be asked about %s; it is still served", ref)
            due = self._clock() + AHEAD
        except RouterError as refusal:
            _log.error(
                "%s is no longer served to callers without a token: %s", ref, refusal.message
            )
            if self._grants.get(ref) is grant:
                del self._grants[ref]
            return
        finally:
            current = grant.check is asyncio.current_task()
            if current:
                grant.check = None
        if current:
            grant.renew(model, due, max(due, self._clock()) + AHEAD)
