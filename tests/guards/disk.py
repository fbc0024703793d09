"""Guards of downloads, disk space and engine loads: no caller can use them up."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, body, drop, never, swap, text, without

_PLACES = "tests/downloads/test_places.py::test_"
_EVICTION = "tests/downloads/test_eviction.py::test_"

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
        "router.downloads.downloader:SnapshotDownloader._fetch",
        swap("await asyncio.to_thread(self._local.find, model)", "None"),
        "tests/downloads/test_downloader.py::test_what_is_on_disk_waits_for_no_place",
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
        _PLACES + "who_has_all_places_makes_room_for_who_has_none",
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
        swap("min(_1, default=_2)", "max(_1, default=_2)"),
        _PLACES + "a_download_that_another_caller_joins_is_that_callers_too",
    ),
    Guard(
        "A wait that is cancelled gives its place on",
        "router.downloads.places:Places.place",
        drop("_hand_out").nth(2, of=2),
        _PLACES + "a_place_that_was_handed_to_a_cancelled_wait_goes_on",
    ),
    Guard(
        "Dimensions that no model has start no engine",
        "router.repository.check_config:check_config",
        drop("check_dimensions"),
        "tests/security/test_hostile_repositories.py::"
        "test_it_is_refused_before_an_engine_starts[deep-files7]",
    ),
    Guard(
        "Dimensions that the weights do not bear out are refused",
        "router.repository.check_dimensions:check_dimensions",
        never("weight_bytes"),
        "tests/repository/test_check_dimensions.py::"
        "test_dimensions_that_the_weights_do_not_bear_out_are_refused",
    ),
    Guard(
        "A configuration that is refused costs no download of weights",
        "router.downloads.child:SnapshotDownload._settle",
        drop("check_snapshot"),
        "tests/security/test_abuse_by_repositories.py::"
        "test_an_absurd_configuration_is_the_engines_matter_or_refused[layers]",
    ),
    Guard(
        "A configuration names no other repository that an engine would read",
        "router.repository.check_config:check_config",
        never("_is_elsewhere"),
        "tests/security/test_hostile_repositories.py::"
        "test_it_is_refused_before_an_engine_starts[borrows-files8]",
    ),
    Guard(
        "An index of weights names files of its own repository",
        "router.repository.weight_index:check_index",
        never("_LEADS_OUT"),
        "tests/repository/test_check_config.py::"
        "test_an_index_names_files_of_its_own_repository",
    ),
    Guard(
        "The modules of an embedding model lie in its own repository",
        "router.repository.small_files:_CONFIGURATION",
        text("|modules\\.json", ""),
        "tests/repository/test_check_config.py::test_a_module_lies_in_the_repository[../other]",
    ),
    Guard(
        "A full disk makes room before anybody is refused",
        "router.downloads.space:DiskSpace.provide",
        drop("make_room"),
        "tests/security/test_disk_budget.py::"
        "test_the_least_recently_used_leaves_for_a_new_one[http]",
    ),
    Guard(
        "What leaves the disk was not used for longest",
        "router.downloads.eviction:SnapshotEviction._idle",
        body("return 1e6"),
        _EVICTION + "the_least_recently_used_leave_and_no_more_than_needed",
    ),
    Guard(
        "A model that an engine uses stays on the disk",
        "router.downloads.removal:SnapshotRemoval.remove",
        never("_forget"),
        _EVICTION + "what_an_engine_uses_stays",
    ),
    Guard(
        "A model that is being fetched stays on the disk",
        "router.downloads.removal:SnapshotRemoval.remove",
        never("is_busy"),
        _EVICTION + "what_is_being_fetched_stays",
    ),
    Guard(
        "The operator's models stay on the disk",
        "router.downloads.eviction:SnapshotEviction._may_leave",
        never("include"),
        _EVICTION + "the_operators_models_stay",
    ),
    Guard(
        "A model that another worker has just used stays on the disk",
        "router.downloads.eviction:SnapshotEviction._may_leave",
        body("return True"),
        _EVICTION + "what_another_worker_has_just_used_stays",
    ),
    Guard(
        "A model that another worker finds at the last moment stays on the disk",
        "router.downloads.snapshots:Snapshots.remove",
        never("unless"),
        _EVICTION + "what_another_worker_finds_at_the_last_moment_stays",
    ),
    Guard(
        "A download that does not fit in any case costs nobody a model",
        "router.downloads.eviction:SnapshotEviction._chosen",
        always("freed"),
        _EVICTION + "nothing_leaves_for_what_does_not_fit_in_any_case",
    ),
    Guard(
        "A model larger than the disk's budget costs nobody a model",
        "router.downloads.space:DiskSpace.provide",
        never("total"),
        "tests/security/test_disk_budget.py::"
        "test_a_model_larger_than_the_budget_is_refused_and_the_others_stay[http]",
    ),
    Guard(
        "A model that can't be served costs nobody a model",
        "router.downloads.child:SnapshotDownload._settle",
        drop("check_snapshot"),
        "tests/security/test_disk_budget.py::"
        "test_a_model_that_can_not_be_served_costs_nobody_a_model[http]",
    ),
    Guard(
        "What an engine uses is not offered for pruning",
        "router.downloads.refs:Refs.note",
        drop("_point").nth(2, of=2),
        "tests/downloads/test_refs.py::test_a_branch_moves_on_and_what_is_in_use_keeps_a_ref",
    ),
    Guard(
        "What an engine uses does not lose its ref",
        "router.downloads.eviction:SnapshotEviction._release",
        without("_in_use"),
        _EVICTION + "what_no_worker_uses_any_more_is_in_use_no_more",
    ),
    Guard(
        "A repository is not left with a ref to what is gone",
        "router.downloads.refs:Refs.note",
        drop("forget"),
        "tests/downloads/test_refs.py::"
        "test_a_ref_to_what_another_worker_has_just_removed_does_not_stay",
    ),
    Guard(
        "Files that others put into the cache stay",
        "router.downloads.eviction:SnapshotEviction._stored",
        swap("set(self._snapshots.all())", "{('org/a', 'a' * 40)}"),
        _EVICTION + "files_of_others_stay",
    ),
    Guard(
        "A model that an engine uses is no room for another",
        "router.downloads.eviction:SnapshotEviction._may_leave",
        without("_in_use"),
        _EVICTION + "what_an_engine_uses_counts_for_nothing",
    ),
)
