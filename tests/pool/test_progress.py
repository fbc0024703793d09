from __future__ import annotations

from router.pool.interfaces import FetchProgress
from router.pool.progress import ProgressTracker
from router.scheduler.forecast import Download
from tests.pool.fakes import FakeClock


class Downloads:
    """The reports of a download, each some seconds after the last."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tracker = ProgressTracker(self.clock)

    def tell(self, seconds: float, progress: FetchProgress, number: int = 7) -> None:
        self.clock.advance(seconds)
        self.tracker.note(number, progress)


def test_until_bytes_have_arrived_there_is_no_estimate() -> None:
    downloads = Downloads()
    assert downloads.tracker.of(7) == Download()
    downloads.tell(10, FetchProgress(100, 400))
    assert downloads.tracker.of(7) == Download(100, 400, None)


def test_a_download_is_estimated_by_its_rate_without_what_was_on_disk_before() -> None:
    downloads = Downloads()
    downloads.tell(0, FetchProgress(100, 400))
    downloads.tell(10, FetchProgress(200, 400))
    assert downloads.tracker.of(7) == Download(200, 400, 20.0, rate=10.0)


def test_the_rest_of_a_download_that_stalls_grows() -> None:
    downloads = Downloads()
    downloads.tell(0, FetchProgress(0, 300))
    downloads.tell(10, FetchProgress(100, 300))
    downloads.clock.advance(10)
    assert downloads.tracker.of(7) == Download(100, 300, 40.0, rate=5.0)


def test_a_download_that_waits_for_others_is_queued_and_its_rate_begins_later() -> None:
    downloads = Downloads()
    downloads.tell(0, FetchProgress(0, 0, queued=True))
    assert downloads.tracker.of(7) == Download(queued=True)
    downloads.tell(1000, FetchProgress(0, 300))
    downloads.tell(10, FetchProgress(100, 300))
    assert downloads.tracker.of(7) == Download(100, 300, 20.0, rate=10.0)


def test_a_download_that_ended_is_forgotten() -> None:
    downloads = Downloads()
    downloads.tell(0, FetchProgress(1, 2))
    downloads.tracker.end(7)
    downloads.tracker.end(7)
    assert downloads.tracker.of(7) == Download()


def test_an_abandoned_download_does_not_disturb_the_next_one() -> None:
    downloads = Downloads()
    downloads.tell(0, FetchProgress(0, 3))
    downloads.tell(0, FetchProgress(1, 2), number=8)
    downloads.tracker.end(7)
    assert downloads.tracker.of(8).done == 1
