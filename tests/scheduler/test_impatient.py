"""Callers that wait for less time than a start takes, and then ask again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from router.models import EngineSpec
from router.scheduler import actions, events
from router.scheduler.lifecycle import State
from router.scheduler.limits import Limits
from tests.pool.fakes import GIB, spec
from tests.scheduler.driver import Driver

MODELS = [replace(spec(name), memory=None) for name in "abc"]
LIMITS = Limits(budget=12 * GIB, max_loaded=1)
STEP = 5.0  # seconds until a caller asks again
START = 60.0
STOP = 5.0
APART = 15.0  # between their first requests


@dataclass
class Callers:
    """One caller per model, until it has an answer. The device has room for one engine."""

    patience: float
    limits: Limits = LIMITS
    waiting: dict[int, EngineSpec] = field(default_factory=dict)
    starts: int = 0

    def __post_init__(self) -> None:
        self.driver = Driver(self.limits)

    def all_served_within(self, seconds: float) -> bool:
        unserved, began = list(MODELS), self.driver.now
        first = dict(zip(MODELS, itertools.count(began, APART), strict=False))
        while unserved and self.driver.now < began + seconds:
            for one in unserved:
                if first[one] <= self.driver.now and one not in self.waiting.values():
                    self.waiting[self.ask(one)] = one
            self.driver.wait(STEP)
            self._go_on()
            for waiter in self._told():
                unserved.remove(self.waiting.pop(waiter))
                self.driver.release(waiter)
        return not unserved

    def ask(self, one: EngineSpec) -> int:
        return self.driver.want(one, patience=self.patience, caller=one.key.repo_id)

    def _go_on(self) -> None:
        for one in MODELS:
            life = self.driver.scheduler.slots.get(one.key)
            if life is None:
                continue
            age = self.driver.now - life.moved_at
            if life.state is State.STARTING and age >= START:
                self.driver.ready(one)
            elif life.state is State.STOPPING and age >= STOP:
                self.driver.gone(one)
            elif life.standby and not life.standby.standing:
                self.driver.tell(events.Standing(one.key, life.standby.generation))

    def _told(self) -> list[int]:
        """The requests that have an engine. Failed ones are forgotten."""
        told, self.driver.actions = self.driver.actions, []
        self.starts += sum(isinstance(one, actions.Start) for one in told)
        for one in told:
            if isinstance(one, actions.Fail):
                del self.waiting[one.waiter]
        return [one.waiter for one in told if isinstance(one, actions.Grant)]


@pytest.mark.parametrize("standby", [0, 1])
def test_callers_that_wait_for_less_than_a_start_takes_are_served(standby: int) -> None:
    callers = Callers(patience=45.0, limits=replace(LIMITS, standby=standby))
    assert callers.all_served_within(600.0)
    assert callers.starts <= 2 * len(MODELS)  # they do not end each other's


@pytest.mark.parametrize(("waited", "goes_on"), [(30.0, 30.0), (90.0, 60.0)])
def test_a_start_goes_on_for_its_caller_as_long_as_that_has_waited_and_no_longer(
    waited: float, goes_on: float
) -> None:
    a, b, _ = MODELS
    driver = Driver(LIMITS)
    first = driver.want(a)
    driver.want(b)
    driver.wait(waited)
    driver.tell(events.Left(first))
    driver.wait(goes_on - 1.0)
    assert driver.life(a).state is State.STARTING
    assert driver.scheduler.wake_at == driver.now + 1.0
    driver.wait(1.0)
    driver.gone(a)
    assert driver.life(b).state is State.STARTING
