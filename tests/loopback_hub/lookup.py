"""Finds a request's caller, and the repository and commit that the caller may see."""

from __future__ import annotations

from aiohttp import web

from tests.loopback_hub.access import Accounts, Caller, Refusal, require_sight
from tests.loopback_hub.contents import Commit
from tests.loopback_hub.repositories import Repo, Repositories


class Lookup:
    def __init__(self, accounts: Accounts, repositories: Repositories) -> None:
        self._accounts = accounts
        self._repositories = repositories

    def caller(self, request: web.Request) -> Caller | None:
        return self._accounts.caller(request.headers.get("Authorization"))

    def repo(self, request: web.Request) -> Repo:
        """The repository in the path, after the checks for metadata."""
        caller = self.caller(request)
        asked = f"{request.match_info['org']}/{request.match_info['name']}"
        repo = require_sight(self._repositories.get(asked), caller)
        if repo.id.casefold() != asked.casefold():
            # Only after the checks, because a redirect reveals that the repository exists.
            raise Refusal(307, "Moved", headers={"Location": _moved(request, repo.id)})
        return repo

    def commit(self, request: web.Request, repo: Repo) -> Commit:
        revision = request.match_info.get("revision", "main")
        commit = repo.find(revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit


def _moved(request: web.Request, repo_id: str) -> str:
    """The same address with the repository's new name."""
    parts = request.rel_url.raw_path.split("/")
    start = 3 if parts[1] == "api" else 1  # /api/models/org/name, /org/name/resolve
    parts[start : start + 2] = repo_id.split("/")
    query = request.rel_url.raw_query_string
    return "/".join(parts) + (f"?{query}" if query else "")
