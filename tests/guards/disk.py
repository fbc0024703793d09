"""Downloads, the disk and what engines load: nobody takes them from the others."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap

_PLACES = "tests/downloads/test_places.py::test_"

GUARDS = (
    Guard(
        "Downloads at once are few, however many are asked for",
        "router.downloads.places:Places.full",
        body("return False"),
        "tests/security/test_downloads_at_once.py::"
        "test_a_flood_of_downloads_takes_two_processes_and_leaves_room_for_others"
        "[http-hangs up]",
    ),
    Guard(
        "A place is kept until the child is dead and its files are gone",
        "router.downloads.attempt:DownloadAttempt.run",
        drop("finish"),
        "tests/downloads/test_downloader.py::"
        "test_a_place_is_free_once_the_child_before_is_dead",
    ),
    Guard(
        "A model on disk waits for no download",
        "router.downloads.downloader:SnapshotDownloader.fetch",
        swap("await asyncio.to_thread(self._find, model)", "None"),
        "tests/security/test_downloads_at_once.py::"
        "test_a_model_that_is_on_disk_waits_for_no_download[http]",
    ),
    Guard(
        "The next download is of the caller with the fewest",
        "router.downloads.places:Places._rank",
        body("return 0"),
        _PLACES + "the_next_is_of_the_caller_with_the_fewest_then_the_oldest",
    ),
    Guard(
        "A caller with all places makes room for one with none",
        "router.downloads.places:Places.needed",
        swap("newest is place and _", "False"),
        "tests/security/test_downloads_at_once.py::"
        "test_a_flood_of_downloads_takes_two_processes_and_leaves_room_for_others[http-stays]",
    ),
    Guard(
        "A slow download makes room for another caller's",
        "router.downloads.places:Places.needed",
        never("slow"),
        _PLACES + "a_slow_download_makes_room_for_another_callers",
    ),
    Guard(
        "A download that a second caller joins is not behind the first one's others",
        "router.downloads.places:Places._rank_of",
        body("return self._rank(next(iter(place.callers()), None))"),
        _PLACES + "a_download_that_another_caller_joins_is_that_callers_too",
    ),
    Guard(
        "A wait that is cancelled gives its place on",
        "router.downloads.places:Places.place",
        drop("_hand_out").nth(2, of=2),
        _PLACES + "a_place_that_was_handed_to_a_cancelled_wait_goes_on",
    ),
)
