"""The real client's exceptions, line by line of the table of the Hub's answers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.loopback_hub import LoopbackHub
from tests.loopback_hub.client import Client, Failure
from tests.loopback_hub.raw import ask
from tests.loopback_hub.repositories import Review

FILE = "config.json"
NOT_FOUND = "RepositoryNotFoundError"
DOWNLOADS = ["hf_hub_download", "snapshot_download"]

Tokens = dict[str, str | bool]


class Case(NamedTuple):
    who: str
    repo: str
    kind: str
    status: int


@pytest.fixture(scope="module")
def tokens(hub: LoopbackHub) -> Tokens:
    """Repositories of every kind, and a token for every kind of caller."""
    files = {FILE: b"{}"}
    hub.add_repo("acme/public", files)
    hub.add_repo("acme/before", files, owner="alice", private=True)
    hub.rename("acme/before", "acme/private")
    hub.add_repo("acme/gated", files, owner="alice", gated="manual")
    hub.add_repo("acme/closed", files, owner="alice", private=True, gated="auto")
    hub.add_repo("acme/disabled", files)
    hub.disable("acme/disabled")
    tokens: Tokens = {"nobody": False, "invalid": "hf_" + "0" * 34}
    for account in ("alice", "bob", "carol", "late", "narrow"):
        tokens[account] = hub.add_account(account)
    hub.accept("acme/gated", "carol")
    hub.share("acme/private", "carol")
    hub.share("acme/closed", "carol")
    hub.accept("acme/gated", "narrow")
    hub.share("acme/private", "narrow")
    hub.expire(str(tokens["late"]))
    hub.restrict(str(tokens["narrow"]), repos={"acme/other"})
    return tokens


@pytest.mark.parametrize("call", ["auth_check", *DOWNLOADS])
@pytest.mark.parametrize(
    "case",
    [
        Case("nobody", "acme/missing", NOT_FOUND, 401),
        Case("nobody", "acme/private", NOT_FOUND, 401),
        Case("bob", "acme/missing", NOT_FOUND, 404),
        Case("bob", "acme/private", NOT_FOUND, 404),
        Case("nobody", "acme/gated", "GatedRepoError", 401),
        Case("bob", "acme/gated", "GatedRepoError", 403),
        Case("carol", "acme/closed", "GatedRepoError", 403),
        Case("invalid", "acme/public", "HfHubHTTPError", 401),
        Case("late", "acme/public", "HfHubHTTPError", 401),
        Case("late", "acme/missing", "HfHubHTTPError", 401),
    ],
)
def test_a_refusal_is_the_same_in_the_check_and_in_a_download(
    client: Client, tokens: Tokens, tmp_path: Path, call: str, case: Case
) -> None:
    failure = _failure(client, call, case.repo, tokens[case.who], tmp_path)
    assert failure == Failure(case.kind, case.status)


@pytest.mark.parametrize("call", DOWNLOADS)
@pytest.mark.parametrize(
    "case",
    [
        Case("narrow", "acme/public", "HfHubHTTPError", 403),
        Case("narrow", "acme/gated", "HfHubHTTPError", 403),
        Case("narrow", "acme/private", "HfHubHTTPError", 403),
        Case("nobody", "acme/disabled", "DisabledRepoError", 403),
        Case("bob", "acme/disabled", "DisabledRepoError", 403),
    ],
)
def test_scope_and_disabled_come_out_of_a_download_as_a_missing_cache_entry(
    client: Client, tokens: Tokens, tmp_path: Path, call: str, case: Case
) -> None:
    token = tokens[case.who]
    checked = _failure(client, "auth_check", case.repo, token, tmp_path)
    assert checked == Failure(case.kind, case.status)
    downloaded = _failure(client, call, case.repo, token, tmp_path)
    assert downloaded == Failure("LocalEntryNotFoundError", None)


def _failure(client: Client, call: str, repo: str, token: str | bool, cache: Path) -> Failure:
    """Each download has its own cache: a warm cache would let everybody in."""
    if call == "auth_check":
        return client.failure(call, repo, token=token)
    args = [repo, FILE] if call == "hf_hub_download" else [repo]
    return client.failure(call, *args, token=token, cache_dir=cache)


@pytest.mark.parametrize("call", ["auth_check", *DOWNLOADS])
@pytest.mark.parametrize("state", ["pending", "rejected"])
def test_a_request_for_access_is_told_in_the_hubs_words(
    hub: LoopbackHub, client: Client, tmp_path: Path, call: str, state: Review
) -> None:
    repo = f"acme/{state}-{call}".replace("_", "-")
    hub.add_repo(repo, {FILE: b"{}"}, gated="manual")
    hub.review(repo, "dave", state)
    failure = _failure(client, call, repo, hub.add_account("dave"), tmp_path)
    assert failure == Failure("GatedRepoError", 403)
    words = {"pending": "is awaiting a review", "rejected": "has been rejected"}[state]
    assert f"Your request to access model {repo} {words}" in failure.message


@pytest.mark.parametrize("who", ["nobody", "bob", "carol"])
def test_metadata_of_a_gated_repo_are_for_everybody(
    client: Client, tokens: Tokens, who: str
) -> None:
    assert client.call("model_info", "acme/gated", token=tokens[who])["gated"] == "manual"
    assert client.call("list_repo_tree", "acme/gated", token=tokens[who])


@pytest.mark.parametrize("repo", ["acme/gated", "acme/private"])
@pytest.mark.parametrize("who", ["alice", "carol"])
def test_owners_and_those_let_in_pass_the_check_and_read_files(
    client: Client, tokens: Tokens, tmp_path: Path, who: str, repo: str
) -> None:
    client.call("auth_check", repo, token=tokens[who])
    assert client.call("hf_hub_download", repo, FILE, token=tokens[who], cache_dir=tmp_path)


def test_rights_taken_away_are_gone_at_once(hub: LoopbackHub, client: Client) -> None:
    hub.add_repo("acme/lent", {FILE: b"{}"}, private=True, gated="auto")
    token = hub.add_account("dave")
    hub.share("acme/lent", "dave")
    hub.accept("acme/lent", "dave")
    client.call("auth_check", "acme/lent", token=token)
    hub.withdraw("acme/lent", "dave")
    assert client.failure("auth_check", "acme/lent", token=token) == Failure(NOT_FOUND, 404)


def test_a_deleted_repo_is_not_found(hub: LoopbackHub, client: Client) -> None:
    hub.add_repo("acme/short-lived", {FILE: b"{}"})
    client.call("auth_check", "acme/short-lived")
    hub.delete("acme/short-lived")
    assert client.failure("auth_check", "acme/short-lived") == Failure(NOT_FOUND, 401)


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize("call", ["model_info", "list_repo_tree", "snapshot_download"])
@pytest.mark.parametrize("revision", ["nightly", "refs/pr/1", "0" * 40])
def test_a_revision_that_does_not_exist(client: Client, call: str, revision: str) -> None:
    failure = client.failure(call, "acme/public", revision=revision)
    assert failure == Failure("RevisionNotFoundError", 404)


@pytest.mark.usefixtures("tokens")
def test_a_file_that_does_not_exist(client: Client) -> None:
    failure = client.failure("hf_hub_download", "acme/public", "nothing.txt")
    assert failure == Failure("RemoteEntryNotFoundError", 404)
    failure = client.failure("list_repo_tree", "acme/public", "additional_chat_templates")
    assert failure == Failure("RemoteEntryNotFoundError", 404)


@pytest.mark.usefixtures("tokens")
@pytest.mark.parametrize("trick", ["acme/gated?", "acme/gated#", "acme/gated/revision/main?"])
def test_the_check_passes_ids_that_hide_it_from_the_hub(client: Client, trick: str) -> None:
    # Nobody wants this, but it is the reason why a router must check the id first.
    client.call("auth_check", trick)


def test_a_mirror_has_no_auth_check_but_refuses_files(tmp_path: Path) -> None:
    with LoopbackHub() as mirror, Client(mirror.environment(), tmp_path) as client:
        mirror.add_repo("acme/gated", {FILE: b"{}"}, gated="auto")
        mirror.without_auth_check()
        # No `X-Error-Code`, because the route itself was not found.
        assert client.failure("auth_check", "acme/gated") == Failure("HfHubHTTPError", 404)
        failure = client.failure("hf_hub_download", "acme/gated", FILE)
        assert failure == Failure("GatedRepoError", 401)


@pytest.mark.parametrize("who", ["nobody", "bob"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/models/{}",
        "/api/models/{}/revision/main",
        "/api/models/{}/auth-check",
        "/api/models/{}/refs",
        "/api/models/{}/tree/main",
        "/{}/resolve/main/config.json",
    ],
)
def test_nothing_tells_a_private_repo_from_a_missing_one(
    hub: LoopbackHub, tokens: Tokens, who: str, method: str, path: str
) -> None:
    headers = {"X-Amzn-Trace-Id": "the same for all"}  # it is returned as X-Request-Id
    seen = set()
    for repo in ("acme/missing", "acme/private", "Acme/Private", "acme/before"):
        answer = ask(hub, method, path.format(repo), token=tokens[who], headers=headers)
        del answer.headers["Date"]
        seen.add((answer.status, str(answer.headers), answer.body))
    assert len(seen) == 1
