"""Guards: revoked rights end, and the data that needed them is removed in time."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import drop, never, swap, unwrap, value, without

_REVOKED = "tests/security/test_revocation.py::test_"
_REMOVED = "tests/downloads/test_retention.py::test_"

GUARDS = (
    Guard(
        "The Hub is asked again about an entitlement after a minute",
        "router.hub.singleflight:ANSWER_TTL",
        value("61.0"),
        _REVOKED + "what_the_hub_takes_back_is_taken_back_within_a_minute",
    ),
    Guard(
        "A token refused once is refused for everything that it was allowed",
        "router.hub.cache:CachedHub._note_refusal",
        swap("isinstance(_, InvalidHfToken)", "False"),
        _REVOKED + "a_token_that_is_refused_once_is_refused_for_all_that_it_was_let_use[http]",
    ),
    Guard(
        "A caller refused under one name is refused under every name",
        "router.hub.cache:CachedHub._note_refusal",
        swap("_1 or _", "_1"),
        _REVOKED + "who_was_refused_by_one_name_is_not_let_in_by_another[queue]",
    ),
    Guard(
        "A private model that nobody requests is unloaded",
        "router.config.catalog:_idle_ttl",
        drop("private_idle_ttl"),
        _REVOKED + "a_private_model_that_nobody_asks_for_leaves_the_gpu_and_the_disk[http]",
    ),
    Guard(
        "With REMOVE_PRIVATE_FILES, its files are removed too",
        "router.app.pool_parts:PoolParts._disk",
        never("remove_private_files"),
        _REVOKED + "a_private_model_that_nobody_asks_for_leaves_the_gpu_and_the_disk[queue]",
    ),
    Guard(
        "Files in use are not removed",
        "router.downloads.removal:SnapshotRemoval.remove",
        never("_forget"),
        _REMOVED + "a_loaded_but_unused_model_is_removed_once_its_engine_is_gone",
    ),
    Guard(
        "Files that a request waits for are not removed",
        "router.scheduler.fetching_slot:FetchingSlot.forget_snapshot",
        without("queue"),
        "tests/pool/test_pool_downloads.py::"
        "test_a_snapshot_that_is_being_fetched_wanted_or_in_use_is_not_forgotten",
    ),
    Guard(
        "Files of the operator's models are not removed",
        "router.downloads.retention:PrivateModelRetention._due",
        drop("forget"),
        _REMOVED + "the_operators_models_stay_forever",
    ),
    Guard(
        "Files that another worker on the volume was asked for are not removed",
        "router.downloads.snapshots:Snapshots.remove",
        never("unless"),
        _REMOVED + "a_model_that_another_worker_has_just_used_stays",
    ),
    Guard(
        "Files shared with another commit are not removed",
        "router.downloads.snapshots:Snapshots.discard",
        without("shared"),
        _REMOVED + "files_of_another_commit_stay",
    ),
    Guard(
        "A request that comes during a removal waits for it",
        "router.downloads.downloader:SnapshotDownloader.exclusive",
        unwrap("lock"),
        _REMOVED + "a_call_during_the_removal_does_not_find_half_a_snapshot",
    ),
)
