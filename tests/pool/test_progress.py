from __future__ import annotations

from router.pool.interfaces import FetchProgress
from router.pool.progress import Estimate, ProgressTracker
from router.pool.start_times import Took
from tests.pool.fakes import FakeClock, spec

KEY, OTHER = spec("a").key, spec("b").key


def seen(clock: FakeClock) -> ProgressTracker:
    """One start was seen, of another model: 20 s."""
    progress = ProgressTracker(clock)
    progress.starts.remember(OTHER, Took(20.0))
    return progress


def test_without_an_observation_there_is_no_estimate() -> None:
    progress = ProgressTracker(FakeClock())
    progress.begin(7)
    assert progress.fetching(7, KEY) == progress.starting(7, KEY) == Estimate()
    progress.note(7, FetchProgress(1, 4))
    assert progress.fetching(7, KEY) == Estimate(1, 4, None)


def test_a_download_is_estimated_by_its_rate_with_the_start_that_follows() -> None:
    clock = FakeClock()
    progress = seen(clock)
    progress.begin(7)
    clock.advance(10)
    progress.note(7, FetchProgress(100, 300))
    assert progress.fetching(7, KEY) == Estimate(100, 300, 20.0 + 20.0)


def test_a_download_that_waits_for_others_is_queued_and_its_rate_begins_later() -> None:
    clock = FakeClock()
    progress = seen(clock)
    progress.begin(7)
    progress.note(7, FetchProgress(0, 0, queued=True))
    assert progress.fetching(7, KEY) == Estimate(queued=True)
    clock.advance(1000)
    progress.note(7, FetchProgress(0, 300))
    clock.advance(10)
    progress.note(7, FetchProgress(100, 300))
    assert progress.fetching(7, KEY) == Estimate(100, 300, 20.0 + 20.0)


def test_a_download_that_ended_is_forgotten() -> None:
    clock = FakeClock()
    progress = seen(clock)
    progress.begin(7)
    progress.note(7, FetchProgress(1, 2))
    progress.end(7)
    progress.end(7)
    assert progress.fetching(7, KEY) == Estimate()


def test_an_abandoned_download_does_not_disturb_the_next_one() -> None:
    progress = seen(FakeClock())
    progress.begin(7)
    progress.begin(8)
    progress.note(8, FetchProgress(1, 2))
    progress.end(7)
    assert progress.fetching(8, KEY).done == 1
