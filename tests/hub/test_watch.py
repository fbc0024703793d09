"""An outage of the Hub is logged once, and so is its end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from router.errors import HubLimited, HubUnavailable, ModelNotFound, RouterError
from router.hub.watch import HubWatch
from tests.pool.fakes import FakeClock

DOWN = HubUnavailable("The Hub can't be reached.", cause="no connection (ConnectError)")
SILENT = (
    "the Hub can't be asked: no connection (ConnectError) (https://hub); until it can, your "
    "own models that were checked before are served, and so is what a caller was entitled to, "
    "until 12:01:00 UTC, and what was seen public, until 2030-01-02 12:00 UTC at most; all "
    "else gets hub_unavailable"
)
NOON = 1_893_499_200.0  # on January 1, 2030


class Watched:
    def __init__(self, caplog: pytest.LogCaptureFixture, grace: float = 86_400.0) -> None:
        caplog.set_level(logging.INFO, "router.hub")
        self.clock, self._caplog = FakeClock(), caplog
        begun = self.clock.now
        self.watch = HubWatch(
            "https://hub", grace, self.clock, wall=lambda: NOON + self.clock.now - begun
        )

    def told(self) -> list[str]:
        told = self._caplog.messages[:]
        self._caplog.clear()
        return told


@pytest.fixture
def hub(caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(caplog)


def test_an_outage_and_its_end_are_told_once(hub: Watched) -> None:
    for _ in range(50):
        hub.watch.note(DOWN)
    assert hub.told() == [SILENT]
    assert hub.watch.unavailable_since == NOON
    hub.clock.advance(90.0)
    for _ in range(50):
        hub.watch.note(None)
    assert hub.told() == ["the Hub can be asked again, after 90 s"]
    assert hub.watch.unavailable_since is None


def test_where_public_models_have_no_grace_none_is_promised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub = Watched(caplog, grace=0.0)
    hub.watch.note(DOWN)
    (told,) = hub.told()
    assert "public" not in told


def test_one_failure_among_answers_is_no_outage(hub: Watched) -> None:
    for _ in range(20):
        hub.watch.note(None)
        hub.watch.note(DOWN)
        hub.clock.advance(1.0)
    assert hub.told() == []


def test_two_in_a_row_are_one(hub: Watched) -> None:
    hub.watch.note(None)
    hub.watch.note(DOWN)
    hub.watch.note(DOWN)
    assert len(hub.told()) == 1


def test_a_hub_that_answers_now_and_then_is_not_back(hub: Watched) -> None:
    hub.watch.note(DOWN)
    assert len(hub.told()) == 1
    for _ in range(100):
        hub.clock.advance(1.0)
        hub.watch.note(None if hub.clock.now % 3 else DOWN)
    assert hub.told() == []
    assert hub.watch.unavailable_since == NOON


@pytest.mark.parametrize("answer", [ModelNotFound("m"), None], ids=["a refusal", "an answer"])
def test_a_hub_that_refuses_answers(hub: Watched, answer: RouterError | None) -> None:
    hub.watch.note(DOWN)
    hub.clock.advance(10.0)
    hub.watch.note(answer)
    assert hub.watch.unavailable_since is None


@pytest.mark.parametrize("nothing", [HubLimited(5.0), asyncio.CancelledError()])
def test_a_limit_of_one_token_and_a_caller_that_leaves_tell_nothing(
    hub: Watched, nothing: BaseException
) -> None:
    hub.watch.note(nothing)
    assert hub.told() == []
    hub.watch.note(DOWN)
    hub.clock.advance(10.0)
    hub.watch.note(nothing)
    assert hub.watch.unavailable_since == NOON
