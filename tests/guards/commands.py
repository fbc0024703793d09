"""Guards of the operator's commands."""

from __future__ import annotations

from tests.guards.guard import Guard
from tests.guards.mutations import always, drop, never, swap

_CACHE = "tests/commands/test_cache.py::test_"
_CHECK = "tests/commands/test_check.py::test_"

GUARDS = (
    Guard(
        "A command line never holds a token",
        "router.config.options:option",
        swap("one.secret", "False"),
        "tests/test_cli.py::test_a_secret_is_no_option_and_is_not_repeated[--hf-token]",
    ),
    Guard(
        "A token that was typed in a wrong place is not repeated",
        "router.cli:_Parser.error",
        swap("redact(message)", "message"),
        "tests/test_cli.py::test_a_secret_is_no_option_and_is_not_repeated[--hf-tokn]",
    ),
    Guard(
        "An operator removes nothing that a worker has just used",
        "router.downloads.manual_removal:remove_kept",
        never("JUST_USED"),
        _CACHE + "what_a_worker_uses_stays",
    ),
    Guard(
        "An operator removes nothing to which another cache links",
        "router.downloads.manual_removal:_linking",
        never("is_symlink"),
        _CACHE + "what_another_cache_links_to_stays",
    ),
    Guard(
        "An operator removes nothing without the lock on its repository",
        "router.downloads.manual_removal:_lock",
        always("poll"),
        _CACHE + "a_removal_waits_for_the_lock_of_the_repository",
    ),
    Guard(
        "A check downloads no weights",
        "router.downloads.child:SnapshotDownload._download",
        never("inspects"),
        _CHECK + "nothing_but_the_small_files_is_downloaded_and_nothing_stays",
    ),
    Guard(
        "A check refuses what the budget can't hold",
        "router.commands.check.checker:_Steps.run",
        drop("_check_budget"),
        _CHECK + "a_model_that_is_too_large_is_told_with_its_numbers",
    ),
)
