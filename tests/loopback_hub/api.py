"""The Hub's metadata routes, under `/api`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from aiohttp import web
from yarl import URL

from tests.loopback_hub.access import Refusal, require_files
from tests.loopback_hub.contents import Commit
from tests.loopback_hub.lookup import Lookup
from tests.loopback_hub.metadata import Json, folder_entry, model_info, tree_entry

TREE_PAGE = 4  # entries; the Hub's limit is 1,000, which few tests would reach


class Api:
    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.has_auth_check = True
        self.tree_page = TREE_PAGE
        self.link: Callable[[URL], str] = str  # makes the address of a listing's next page
        self.detour: str | None = None  # listings redirect there
        self._entries: dict[str, dict[str, Json]] = {}  # by commit

    def add_routes(self, app: web.Application) -> None:
        repo = "/api/models/{org}/{name}"
        app.router.add_get(repo, self.info)
        app.router.add_get(repo + "/revision/{revision}", self.info)
        app.router.add_get(repo + "/auth-check", self.auth_check)
        app.router.add_get(repo + "/refs", self.refs)
        app.router.add_get(repo + "/tree/{revision}", self.tree)
        app.router.add_get(repo + "/tree/{revision}/{folder:.+}", self.tree)
        app.router.add_post(repo + "/paths-info/{revision}", self.paths_info)
        app.router.add_get("/api/whoami-v2", self.whoami)

    async def info(self, request: web.Request) -> web.Response:
        repo = self._lookup.repo(request)
        info = model_info(
            repo,
            self._lookup.commit(request, repo),
            blobs=request.query.get("blobs", "").lower() == "true",
        )
        if expand := request.query.getall("expand", []):
            info = {key: info[key] for key in ("_id", "id", *expand) if key in info}
        return web.json_response(info)

    async def auth_check(self, request: web.Request) -> web.Response:
        if not self.has_auth_check:
            raise web.HTTPNotFound
        repo = self._lookup.repo(request)
        require_files(repo, self._lookup.caller(request))
        return web.json_response({})

    async def refs(self, request: web.Request) -> web.Response:
        repo = self._lookup.repo(request)
        pulls = {ref for ref in repo.branches if ref.startswith("refs/pr/")}
        answer: dict[str, Any] = {
            "branches": [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha}
                for name, sha in repo.branches.items()
                if name not in pulls
            ],
            "tags": [
                {"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha}
                for name, sha in repo.tags.items()
            ],
            "converts": [],
        }
        if request.query.get("include_prs"):
            answer["pullRequests"] = [
                {"name": ref, "ref": ref, "targetCommit": repo.branches[ref]}
                for ref in sorted(pulls)
            ]
        return web.json_response(answer)

    async def tree(self, request: web.Request) -> web.Response:
        repo = self._lookup.repo(request)
        commit = self._lookup.commit(request, repo)
        if self.detour is not None:
            raise Refusal(307, "Elsewhere", headers={"Location": self.detour})
        folder = request.match_info.get("folder")
        entries = self._entries_of(commit)
        if folder is not None and folder not in commit.folders():
            raise Refusal(404, f"{folder} does not exist", "EntryNotFound")
        inside = f"{folder}/" if folder else ""
        recursive = request.query.get("recursive", "").lower() == "true"
        paths = [
            path
            for path in entries
            if path.startswith(inside) and (recursive or "/" not in path[len(inside) :])
        ]
        start = int(request.query.get("cursor", "0"))
        end = start + self.tree_page
        answer = web.json_response([entries[path] for path in paths[start:end]])
        if end < len(paths):
            following = request.url.update_query(cursor=str(end))
            answer.headers["Link"] = f'<{self.link(following)}>; rel="next"'
        return answer

    async def paths_info(self, request: web.Request) -> web.Response:
        repo = self._lookup.repo(request)
        entries = self._entries_of(self._lookup.commit(request, repo))
        asked = (await request.post()).getall("paths", [])
        return web.json_response([entries[path] for path in asked if path in entries])

    def _entries_of(self, commit: Commit) -> dict[str, Json]:
        if commit.sha not in self._entries:
            self._entries[commit.sha] = _entries(commit)
        return self._entries[commit.sha]

    async def whoami(self, request: web.Request) -> web.Response:
        caller = self._lookup.caller(request)
        if caller is None:
            raise Refusal(401, "Invalid username or password.")
        role = "read" if caller.scope is None else "fineGrained"
        return web.json_response(
            {
                "type": "user",
                "id": hashlib.sha1(caller.account.encode()).hexdigest()[:24],
                "name": caller.account,
                "fullname": caller.account,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": {"role": role}},
            }
        )


def _entries(commit: Commit) -> dict[str, Json]:
    folders = {path: folder_entry(path, oid) for path, oid in commit.folders().items()}
    files = {path: tree_entry(path, blob) for path, blob in commit.files.items()}
    return dict(sorted((folders | files).items()))
