"""A Hub that limits, hangs or is away harms nobody, and is not harmed."""

from __future__ import annotations

from tests.guards.guard import Guard

_FILE = "router/hub/cache.py"
_TROUBLE = "tests/hub/test_hub_trouble.py::"
_KNOWN = "tests/hub/test_cache.py::test_"

GUARDS = (
    Guard(
        "who is over the Hub's limit does not ask it",
        _FILE,
        "        if until is not None:\n",
        "        if False:\n",
        _TROUBLE + "TestALimit::test_its_reset_is_waited_for",
    ),
    Guard(
        "one token's limit is no other's",
        _FILE,
        "until = self._limited.get(digest)",
        "until = max(self._limited.values(), default=None)",
        _TROUBLE + "TestALimit::test_it_is_one_tokens_alone",
    ),
    Guard(
        "a limit has an end",
        _FILE,
        "min(limited.retry_after, LONGEST_LIMIT)",
        "limited.retry_after",
        _TROUBLE + "TestALimit::test_no_answer_makes_it_longer_than_the_hubs_own_window",
    ),
    Guard(
        "a public model's callers do not wait for a Hub that hangs",
        _FILE,
        "return self._patience if public else None",
        "return None",
        _TROUBLE + "TestAHang::test_callers_of_a_public_model_do_not_wait_for_it",
    ),
    Guard(
        "other models' callers do",
        _FILE,
        "return self._patience if public else None",
        "return self._patience",
        _TROUBLE + "TestAHang::test_others_do_since_only_the_hub_can_say",
    ),
    Guard(
        "a late answer counts",
        "router/hub/singleflight.py",
        "        if not done:\n",
        "        if not done:\n            task.cancel()\n",
        _TROUBLE + "TestAHang::test_what_it_says_late_counts_all_the_same",
    ),
    Guard(
        "a Hub that is away is asked less and less",
        "router/hub/singleflight.py",
        "UNAVAILABLE_TTL * 2.0 ** min(streak - 1, 16)",
        "UNAVAILABLE_TTL",
        _TROUBLE + "TestAnHourWithoutTheHub::test_it_is_asked_now_and_then_and_then_once[0.0]",
    ),
    Guard(
        "callers do not come back all at once",
        "router/hub/singleflight.py",
        "return longest * (0.5 + self._random() / 2)",
        "return longest",
        _TROUBLE + "test_who_was_told_at_once_does_not_come_back_at_once",
    ),
    Guard(
        "one question is asked once at a time",
        "router/hub/singleflight.py",
        "        task = self._asking.get(key)\n",
        "        task = None\n",
        _KNOWN + "anonymous_callers_share_what_was_asked_anonymously",
    ),
    Guard(
        "silence is no yes for what is not public",
        _FILE,
        "            if model.repo_id not in self._public_repos:\n                raise\n",
        "            pass\n",
        _KNOWN + "without_the_hub_an_unexpired_entitlement_holds",
    ),
    Guard(
        "the grace has an end",
        _FILE,
        "self._public_repos: TTLCache[str, bool] = TTLCache(\n"
        "            MAX_ANSWERS, public_grace,",
        "self._public_repos: TTLCache[str, bool] = TTLCache(\n            MAX_ANSWERS, 1e9,",
        _KNOWN + "without_the_hub_what_was_public_is_served_for_its_grace",
    ),
    Guard(
        "what is public no more has no grace",
        _FILE,
        "        else:\n            self._public_repos.pop(model.repo_id, None)\n",
        "",
        _KNOWN + "the_grace_ends_when_a_model_is_seen_public_no_more[gated]",
    ),
    Guard(
        "a yes is believed for a minute",
        "router/hub/singleflight.py",
        "else ANSWER_TTL",
        "else 1e9",
        _KNOWN + "a_yes_holds_for_its_time_and_is_asked_for_again_after",
    ),
    Guard(
        "a refusal ends that token's entitlements at once",
        _FILE,
        "                self._entitlements.drop(key)\n",
        "                pass\n",
        _KNOWN + "a_refusal_by_name_ends_that_callers_entitlement_at_once[InvalidHfToken]",
    ),
    Guard(
        "a thaw ends what was believed",
        _FILE,
        "        self._entitlements.clear()\n",
        "",
        _KNOWN + "a_thawed_worker_forgets_also_what_it_was_asking",
    ),
    Guard(
        "answers take bounded space",
        "router/hub/singleflight.py",
        "MAX_ANSWERS, ttu=lambda",
        "1 << 40, ttu=lambda",
        _TROUBLE + "test_refusals_take_bounded_space",
    ),
)
