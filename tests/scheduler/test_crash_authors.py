"""The caller that causes a crash pays for it. The model's other callers do not."""

from __future__ import annotations

import itertools

import pytest

from router.errors import CallerQuarantined, EngineFailed, EngineUnavailable
from router.scheduler import actions, events
from router.scheduler.actions import Fail
from router.scheduler.limits import Limits
from router.scheduler.suspicion import CALLERS_REMEMBERED, DEATHS_REMEMBERED, Suspicion
from tests.pool.fakes import GIB, spec
from tests.scheduler.crash_world import MODEL, START, Ask, World, obstinately, steadily

ATTACK, TEN_MINUTES = 60.0, 600.0  # seconds: the attack's start and duration
A_RESTART = START + 2.0  # including the end of the previous engine


def poison(**how: float) -> Ask:
    return Ask("a", kills_after=0.3, **how)  # type: ignore[arg-type]


def shared_world(*, every: float = 1.0, takes: float = 0.5, max_concurrency: int = 64) -> World:
    """Caller `b` uses the model steadily until the attack is over."""
    world = World(Limits(100 * GIB, max_concurrency=max_concurrency))
    steadily(world, every, ATTACK + TEN_MINUTES, caller="b", takes=takes)
    world.run(ATTACK)
    return world


def is_quarantined(world: World, caller: str) -> bool:
    return any(isinstance(ask.error, CallerQuarantined) for ask in world.of(caller))


def assert_well_served(world: World, caller: str = "b", *, engines: int = 2) -> None:
    """Check that each request is answered, and that none waits for more engines than this."""
    assert not is_quarantined(world, caller)
    for ask in world.of(caller):
        assert ask.error is None
        assert ask.answered is not None
    engines_later = engines * A_RESTART + 10.0
    waited = [ask.answered - ask.asked - ask.takes for ask in world.of(caller) if ask.answered]
    assert max(waited[3:]) < engines_later * (1 if world.of(caller)[0].takes < 5 else 2)


@pytest.mark.parametrize("takes", [0.2, 30.0])
@pytest.mark.parametrize("every", [1.0, 5.0, 30.0])
def test_a_poison_sent_again_and_again_costs_the_other_caller_two_engines(
    every: float, takes: float
) -> None:
    world = shared_world(every=every, takes=takes)
    obstinately(world, poison)
    world.run(ATTACK + TEN_MINUTES + 31.0)
    assert_well_served(world)
    assert len(world.deaths) == 2
    assert is_quarantined(world, "a")
    assert not any(ask.answered for ask in world.of("a"))


def test_the_quarantine_says_what_to_do_and_for_how_long() -> None:
    world = shared_world()
    obstinately(world, poison)
    world.run(ATTACK + TEN_MINUTES)
    error = world.of("a")[-1].error
    assert isinstance(error, CallerQuarantined)
    assert error.status == 429
    assert error.retry_after == pytest.approx(TEN_MINUTES, abs=1.0)
    assert "crashed 2 times" in error.message
    assert "do not send them again" in error.message


def test_each_further_crash_doubles_the_quarantine() -> None:
    world = World()
    steadily(world, 5.0, 9000.0, caller="b")
    world.run(ATTACK)
    obstinately(world, poison)
    world.run(9000.0)
    errors = [ask.error for ask in world.of("a")]
    waits = [error.retry_after for error in errors if isinstance(error, CallerQuarantined)]
    assert waits[:4] == [pytest.approx(each, abs=1) for each in (600, 1200, 2400, 3600)]
    assert not is_quarantined(world, "b")


def is_error(ask: Ask, kind: type[Exception]) -> bool:
    return isinstance(ask.error, kind)


def test_a_poison_gets_one_engine_where_others_share_it_and_two_where_nobody_does() -> None:
    shared, alone = shared_world(), World()
    for world in (shared, alone):
        world.ask(poison())
        world.run(world.now + 120.0)
    assert len(shared.deaths) == 1
    assert isinstance(shared.of("a")[0].error, EngineFailed)
    assert "not tried again" in str(shared.of("a")[0].error)
    assert len(alone.deaths) == 2


def test_a_caller_that_shares_the_engine_gets_no_second_one_for_few_good_answers() -> None:
    world = shared_world()
    world.ask(Ask("a"))
    world.run(ATTACK + 5.0)
    world.ask(poison())
    world.run(ATTACK + 120.0)
    assert len(world.deaths) == 1
    assert all(ask.error is None for ask in world.of("b"))


@pytest.mark.parametrize(
    ("variation", "engines"),
    [
        pytest.param({"leaves_after": 0.1}, 2, id="that hangs up at once"),
        pytest.param({"takes": 0.2}, 2, id="that is answered first"),
        pytest.param({"streams": True}, 2, id="that is streamed"),
        pytest.param({"hangs": True}, 2, id="that stops the engine"),
        pytest.param({"kills_after": 4.0, "takes": 1e9}, 2, id="that takes 4 s"),
        pytest.param({"kills_after": 8.0, "takes": 1e9}, 3, id="that takes 8 s"),
        pytest.param({"kills_after": 20.0, "takes": 1e9}, 3, id="that takes 20 s"),
        pytest.param({"kills_after": 60.0, "takes": 1e9}, 4, id="that takes 60 s"),
    ],
)
def test_no_poison_gets_the_other_caller_quarantined(
    variation: dict[str, float], engines: int
) -> None:
    world = shared_world()
    obstinately(world, lambda: Ask("a", **({"kills_after": 0.3} | variation)))  # type: ignore[arg-type]
    world.run(ATTACK + TEN_MINUTES + 10.0)
    assert is_quarantined(world, "a")
    assert not is_quarantined(world, "b")
    assert not [ask.error for ask in world.of("b") if ask.error]
    assert len(world.deaths) == engines


def test_a_caller_that_hangs_the_engine_and_hangs_up_is_found_by_the_probe() -> None:
    world = shared_world()

    def hang_and_leave() -> Ask:
        return Ask("a", kills_after=0.1, hangs=True, leaves_after=0.2)

    obstinately(world, hang_and_leave, pause=200.0)
    world.run(ATTACK + 2 * TEN_MINUTES)
    assert is_quarantined(world, "a")
    assert not is_quarantined(world, "b")
    assert len(world.deaths) == 2


def test_a_caller_that_hangs_the_engine_and_hangs_up_leaves_no_other_as_the_author() -> None:
    world = shared_world()
    world.ask(Ask("a", kills_after=0.1, hangs=True, leaves_after=0.2))
    world.run(ATTACK + 200.0)
    assert "2 callers (caller a, caller b) used it" in world.told[0]


def test_a_caller_that_hangs_up_before_the_engine_dies_is_a_suspect() -> None:
    world = shared_world()
    world.ask(poison(leaves_after=0.1))
    world.run(ATTACK + 2.0)
    assert "2 callers (caller a, caller b) used it" in world.told[0]


def test_an_answer_just_before_a_trial_is_ended_by_a_probe_clears_nobody() -> None:
    world = shared_world()
    world.ask(poison())
    world.run(ATTACK + 5.0)
    world.ask(Ask("a", takes=0.05, kills_after=0.1, hangs=True))
    slot = world.scheduler.slots[MODEL.key]
    while slot.trials.being_ended != "a":
        world.run(world.now + 0.1)
    world.run(world.now + 30.0)
    assert "only caller a had just used it (crash 2" in world.told[1]


def test_a_trial_ends_while_others_wait() -> None:
    world = shared_world()
    world.crash(world.scheduler.slots[MODEL.key].generation)
    for _ in range(4):
        steadily(world, 0.5, 200.0, caller="c", takes=2.0)
    world.run(300.0)
    asked = [ask for ask in world.of("b") if ask.asked < 200.0]
    assert all(ask.answered and ask.answered - ask.asked < 50.0 for ask in asked)


def test_good_requests_among_the_poisons_buy_nothing() -> None:
    world, count = shared_world(), itertools.count()
    obstinately(world, lambda: Ask("a") if next(count) % 3 else poison())
    world.run(ATTACK + TEN_MINUTES)
    assert_well_served(world)
    assert is_quarantined(world, "a")


def test_many_connections_of_one_caller_are_one_caller() -> None:
    world = shared_world()
    for _ in range(10):
        obstinately(world, poison)
    world.run(ATTACK + TEN_MINUTES)
    assert_well_served(world)
    assert len(world.deaths) == 2


def test_two_callers_that_take_turns_are_quarantined_both() -> None:
    world, count = shared_world(), itertools.count()
    obstinately(world, lambda: Ask(f"a{next(count) % 2}", kills_after=0.3))
    world.run(ATTACK + TEN_MINUTES)
    assert_well_served(world, engines=4)
    assert len(world.deaths) <= 4
    assert is_quarantined(world, "a0")


def test_a_caller_that_waits_is_told_of_its_quarantine_at_once() -> None:
    world = shared_world(max_concurrency=1)
    world.ask(poison())
    world.run(ATTACK + 1.0)
    first, *others = [world.ask(poison()) for _ in range(3)]
    world.run(ATTACK + 2 * A_RESTART)
    assert isinstance(first.error, EngineFailed)
    assert [type(ask.error) for ask in others] == [CallerQuarantined] * 2
    assert len(world.deaths) == 2


def test_a_quarantine_holds_for_one_model_only() -> None:
    world = shared_world()
    obstinately(world, poison)
    world.run(ATTACK + TEN_MINUTES / 2)
    assert isinstance(world.ask(Ask("a")).error, CallerQuarantined)
    other = spec("other", memory=4 * GIB)
    done = world.scheduler.handle(
        events.Wanted(10**6, 10**6, other, "", world.now + 60, "a"), world.now
    )
    assert [type(action).__name__ for action in done] == ["Fetch"]


def test_the_author_may_come_back_when_its_time_is_over() -> None:
    world = shared_world()
    world.ask(poison())
    world.run(ATTACK + 40.0)
    world.ask(poison())
    world.run(ATTACK + 40.0 + TEN_MINUTES + A_RESTART)
    good = world.ask(Ask("a"))
    world.run(world.now + 60.0)
    assert good.answered is not None


def test_a_caller_that_is_alone_with_its_crashes_cools_down_as_ever() -> None:
    world = World()
    obstinately(world, poison)
    world.run(300.0)
    assert not is_quarantined(world, "a")
    assert any(is_error(ask, EngineUnavailable) for ask in world.of("a"))
    assert len(world.deaths) < 10


def test_who_comes_after_a_lonely_crash_is_served_without_cool_down() -> None:
    world = World()
    obstinately(world, poison)
    world.run(220.0)
    assert world.scheduler.slots[MODEL.key].retry_at > world.now + 10.0
    other = world.ask(Ask("b"))
    world.run(world.now + A_RESTART + 1.0)
    assert other.answered is not None
    assert isinstance(world.ask(poison()).error, CallerQuarantined)


def test_the_operators_own_requests_are_never_quarantined() -> None:
    world = World()
    for _ in range(4):
        ask = world.ask(Ask(None, kills_after=0.3))  # type: ignore[arg-type]
        world.run(world.now + 400.0)
        assert not is_error(ask, CallerQuarantined)


def test_an_idle_engine_that_dies_has_no_author() -> None:
    world = World()
    world.ask(Ask("a"))
    world.run(120.0)
    slot = world.scheduler.slots[MODEL.key]
    world.crash(slot.generation)
    assert not slot.suspicion.active(world.now)
    assert slot.retry_at == world.now + 1.0


def test_an_engine_that_dies_before_its_first_request_has_no_author() -> None:
    world = shared_world()
    world.ask(poison())
    world.run(ATTACK + 2.0)
    slot = world.scheduler.slots[MODEL.key]
    while slot.state != "ready":
        world.run(world.now + 0.1)
    for ask in world.of("a"):
        assert ask.error
    assert slot.suspicion.crashes("a") == slot.suspicion.crashes("b") == 1


def test_turns_cost_short_requests_little_while_long_answers_go_on() -> None:
    world = World()
    steadily(world, 20.0, 500.0, caller="c", takes=60.0)
    steadily(world, 2.0, 500.0, caller="b")
    world.run(100.0)
    world.crash(world.scheduler.slots[MODEL.key].generation)
    world.run(700.0)
    late = [ask for ask in world.asks if ask.asked > 150.0]
    assert all(ask.answered for ask in late)
    assert max(ask.answered - ask.asked - ask.takes for ask in late if ask.answered) < 10.0
    assert len(world.deaths) == 1


def test_suspicion_ends_and_the_engine_is_shared_again() -> None:
    world = World()
    steadily(world, 1.0, 1500.0, caller="b", takes=5.0)
    steadily(world, 1.0, 1500.0, caller="c", takes=5.0)
    world.run(100.0)
    slot = world.scheduler.slots[MODEL.key]
    world.crash(slot.generation)
    world.run(900.0)
    assert not slot.suspicion.active(world.now)
    late = [ask for ask in world.asks if ask.asked > 900.0]
    world.run(1600.0)
    assert all(ask.answered == ask.asked + ask.takes for ask in late)


def test_the_log_tells_the_operator_whose_requests_crashed_the_engine() -> None:
    world = World()
    digests = ["a" * 64, "b" * 64]
    steadily(world, 1.0, 300.0, caller=digests[1])
    world.run(ATTACK)
    obstinately(world, lambda: Ask(digests[0], kills_after=0.3))
    world.run(300.0)
    first, second = world.told
    assert "crashed: " in first
    assert "2 callers (caller aaaaaaaaaaaa, caller bbbbbbbbbbbb) used it" in first
    assert "only caller aaaaaaaaaaaa used it (crash 2 of that caller); it is quarant" in second
    assert not any("a" * 13 in line for line in world.told)


@pytest.mark.parametrize(
    ("callers", "used"),
    [("a", "only caller a"), ("ab", "2 callers")],
)
def test_the_log_says_so_if_no_request_was_in_flight_at_a_crash(
    callers: str, used: str
) -> None:
    world = World()
    for caller in callers:
        world.ask(Ask(caller))
    world.run(START + 1.0)
    assert all(ask.answered for ask in world.asks)
    world.crash(world.scheduler.slots[MODEL.key].generation)
    (told,) = world.told
    assert "no request was in flight" in told
    assert f"{used} had just used it" in told.replace(" (caller a, caller b)", "")


def test_what_is_remembered_of_callers_and_requests_is_bounded() -> None:
    suspicion = Suspicion()
    callers = [f"caller-{number}" for number in range(2 * CALLERS_REMEMBERED)]
    requests = [
        events.Wanted(number, number, MODEL, "", 1.0, callers[number % len(callers)])
        for number in range(2 * DEATHS_REMEMBERED)
    ]
    for request in requests[: 2 * CALLERS_REMEMBERED]:
        suspicion.end(request.caller, float(request.waiter), answered=True)
    assert len(suspicion._callers) == CALLERS_REMEMBERED
    suspicion.judge(requests, [], None, 1e4)
    assert len(suspicion._deaths) == DEATHS_REMEMBERED
    assert len(suspicion._callers) == CALLERS_REMEMBERED


def test_of_requests_that_are_too_late_together_each_gets_one_outcome() -> None:
    """If the first gives up its turn, the second must not be granted and then refused."""
    world = World()
    for caller in "ab":
        world.ask(Ask(caller, takes=1e6, streams=True))
    world.run(START + 10.0)
    world.crash(world.scheduler.slots[MODEL.key].generation)
    world.ask(Ask("a", takes=1e6))
    world.run(world.now + A_RESTART + 1.5)  # the trial is over, and its request is watched
    patience = world.now + 0.5
    for number, caller in ((1001, "b"), (1002, "a")):
        late = events.Wanted(number, number, MODEL, "", patience, caller)
        assert not world.scheduler.handle(late, world.now), "it waits"
    done = world.scheduler.handle(events.Tick(), patience)
    assert [one.waiter for one in done if isinstance(one, Fail)] == [1001, 1002]
    assert len(done) == 2


def test_an_older_probe_does_not_end_a_later_trial() -> None:
    """Otherwise, a poison that hangs the engine after that probe would be taken for its
    victim's."""
    world = World()
    for caller in "ab":
        world.ask(Ask(caller, takes=1e6, streams=True))
    world.run(START + 10.0)
    world.crash(world.scheduler.slots[MODEL.key].generation)
    world.ask(Ask("a", takes=0.1))
    world.run(world.now + A_RESTART + 2.0)
    tell, now = world.scheduler.handle, world.now

    def want(number: int, caller: str) -> list[actions.Action]:
        return tell(events.Wanted(number, number, MODEL, "", now + 600.0, caller), now)

    generation = world.scheduler.slots[MODEL.key].generation
    assert want(1001, "b") == [actions.Probe(MODEL.key, generation)]
    tell(events.Left(1001), now)
    assert want(1002, "a") == [actions.Grant(1002, MODEL.key, generation)]
    tell(events.Released(1002, answered=False), now)
    now += 2.0
    assert want(1003, "c") == [actions.Probe(MODEL.key, generation)]
    answer = events.Responded(MODEL.key, generation)
    assert tell(answer, now) == []
    assert tell(answer, now) == [actions.Grant(1003, MODEL.key, generation)]
