"""Rights that end are gone, and so is, in time, what only they gave access to."""

from __future__ import annotations

from tests.guards.guard import Guard

_REVOKED = "tests/security/test_revocation.py::test_"
_REMOVED = "tests/downloads/test_retention.py::test_"

GUARDS = (
    Guard(
        "an entitlement is asked for again after a minute",
        "router/hub/singleflight.py",
        "ANSWER_TTL = 60.0",
        "ANSWER_TTL = 61.0",
        _REVOKED + "what_the_hub_takes_back_is_taken_back_within_a_minute",
    ),
    Guard(
        "a token that was refused is refused for all that it was let use",
        "router/hub/cache.py",
        "bad_token = isinstance(error, InvalidHfToken)",
        "bad_token = False",
        _REVOKED + "a_token_that_is_refused_once_is_refused_for_all_that_it_was_let_use[http]",
    ),
    Guard(
        "who was refused by one name is not let in by another",
        "router/hub/cache.py",
        "if bad_token or key[1].casefold() in names:",
        "if bad_token:",
        _REVOKED + "who_was_refused_by_one_name_is_not_let_in_by_another[queue]",
    ),
    Guard(
        "a private model that nobody asks for is unloaded",
        "router/config/catalog.py",
        "        limits.append(settings.private_idle_ttl)\n",
        "        pass\n",
        _REVOKED + "a_private_model_that_nobody_asks_for_leaves_the_gpu_and_the_disk[http]",
    ),
    Guard(
        "and its files are removed, if the operator wants so",
        "router/app.py",
        "await stack.enter_async_context(self._behind(pool, removal.run()))",
        "pass",
        _REVOKED + "a_private_model_that_nobody_asks_for_leaves_the_gpu_and_the_disk[queue]",
    ),
    Guard(
        "files in use are not removed",
        "router/downloads/retention.py",
        "            if self._pool.forget_snapshot(repo_id, commit):\n",
        "            if self._pool.forget_snapshot(repo_id, commit) or True:\n",
        _REMOVED + "what_is_up_and_unused_lives_no_longer_for_that",
    ),
    Guard(
        "nor are files that somebody waits for",
        "router/scheduler/books.py",
        "if this and slot.state is State.FETCHED and not slot.queue:",
        "if this and slot.state is State.FETCHED:",
        "tests/pool/test_pool_downloads.py::"
        "test_files_that_are_on_their_way_wanted_or_in_use_may_not_go",
    ),
    Guard(
        "nor the operator's",
        "router/downloads/retention.py",
        "            self._last_asked.forget(*model)\n",
        "            pass\n",
        _REMOVED + "the_operators_models_stay_for_ever",
    ),
    Guard(
        "nor what another worker on the volume is asked for",
        "router/downloads/snapshots.py",
        "        if unless():\n",
        "        if False:\n",
        _REMOVED + "what_another_worker_is_asked_for_at_that_moment_stays",
    ),
    Guard(
        "nor what another commit has too",
        "router/downloads/snapshots.py",
        "_linked(snapshot) - shared - before",
        "_linked(snapshot) - before",
        _REMOVED + "what_another_commit_has_too_stays",
    ),
    Guard(
        "who asks meanwhile waits",
        "router/downloads/downloader.py",
        "        async with turn.lock:\n            yield\n",
        "        yield\n",
        _REMOVED + "who_asks_while_it_is_removed_does_not_find_half_of_it",
    ),
)
