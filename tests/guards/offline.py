"""Guards: an offline worker does not serve what it can't check."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import body, drop, never, swap

_TEST = "tests/downloads/test_offline.py::test_"

GUARDS = (
    Guard(
        "Offline, a caller's token resolves nothing",
        "router.downloads.offline:OfflineHub.resolve",
        drop("_refuse_callers"),
        _TEST + "a_token_of_a_caller_can_not_be_checked",
    ),
    Guard(
        "Offline, a caller's token entitles to nothing",
        "router.downloads.offline:OfflineHub.entitle",
        drop("_refuse_callers"),
        _TEST + "a_token_of_a_caller_can_not_be_checked",
    ),
    Guard(
        "Offline, a private model on the disk entitles nobody",
        "router.downloads.offline:OfflineHub.entitle",
        never("_granted"),
        _TEST + "a_private_model_on_the_disk_looks_like_a_missing_one",
    ),
    Guard(
        "Offline, what was public is served for a bounded time",
        "router.downloads.offline:OfflineHub._is_public",
        swap("-_ < self._public.seconds_ago(repo_id, commit) < self._grace", "True"),
        _TEST + "a_model_that_was_seen_public_is_served_for_the_grace",
    ),
    Guard(
        "Offline, a commit is served only if it was seen public itself",
        "router.downloads.offline:OfflineHub._is_public",
        body("return True"),
        _TEST + "a_private_model_on_the_disk_looks_like_a_missing_one",
    ),
    Guard(
        "Offline, nothing is downloaded",
        "router.downloads.downloader:SnapshotDownloader._download",
        never("_offline"),
        _TEST + "a_file_that_is_gone_is_not_downloaded",
    ),
    Guard(
        "Offline, nothing becomes public",
        "router.downloads.downloader:SnapshotDownloader._fetch",
        swap("self._public is not None and not self._offline", "self._public is not None"),
        _TEST + "what_is_fetched_is_recorded_as_public_only_where_the_hub_was_asked",
    ),
    Guard(
        "Offline, an unfinished download of another program is not served",
        "router.repository.on_disk:is_whole",
        body("return True"),
        _TEST + "an_unfinished_download_of_another_program_is_not_served[a shard]",
    ),
)
