"""All repositories. Each is an immutable value; a change replaces it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.loopback_hub.contents import Blob, Commit, Files

Gate = Literal[False, "auto", "manual"]
Review = Literal["pending", "rejected"]


@dataclass(frozen=True, slots=True)
class Repo:
    id: str  # canonical, with the original letter case
    owner: str
    private: bool
    gated: Gate
    disabled: bool = False
    commits: Mapping[str, Commit] = field(default_factory=dict)
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()  # accounts that may see a private repository
    accepted: frozenset[str] = frozenset()  # accounts that passed the gate
    reviews: Mapping[str, Review] = field(default_factory=dict)  # of other accounts, by account

    def find(self, revision: str) -> Commit | None:
        """The commit behind a branch, a tag or a full hash."""
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return self.commits.get(sha)

    def committed(self, files: Files, branch: str) -> Repo:
        """The repository with one more commit. A new branch starts at `main`."""
        commit = Commit.on(self.find(branch) or self.find("main"), self.id, files)
        return replace(
            self,
            commits={**self.commits, commit.sha: commit},
            branches={**self.branches, branch: commit.sha},
        )


class Repositories:
    """Finds repositories by id in any letter case. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._repos: dict[str, Repo] = {}
        self._moved: dict[str, str] = {}

    def add(self, repo: Repo) -> None:
        with self._lock:
            if repo.id.casefold() in self._repos:
                raise ValueError(f"{repo.id} exists already")
            self._moved.pop(repo.id.casefold(), None)
            self._repos[repo.id.casefold()] = repo

    def get(self, repo_id: str) -> Repo | None:
        """The repository of this name, or of its new name after a rename."""
        key = repo_id.casefold()
        while key in self._moved:
            key = self._moved[key]
        return self._repos.get(key)

    def change(self, repo_id: str, change: Callable[[Repo], Repo]) -> Repo:
        """Replace a repository by `change(repo)`. Raises `KeyError`."""
        with self._lock:
            changed = change(self._repos[repo_id.casefold()])
            self._repos[repo_id.casefold()] = changed
            return changed

    def rename(self, old: str, new: str) -> None:
        with self._lock:
            repo = self._repos.pop(old.casefold())
            self._moved.pop(new.casefold(), None)
            self._moved[old.casefold()] = new.casefold()
            self._repos[new.casefold()] = replace(repo, id=new)

    def delete(self, repo_id: str) -> None:
        with self._lock:
            del self._repos[repo_id.casefold()]

    def blob(self, sha256: str) -> Blob | None:
        """A blob of any repository by its digest, for the CDN."""
        return next(
            (
                blob
                for repo in list(self._repos.values())
                for commit in repo.commits.values()
                for blob in commit.files.values()
                if blob.sha256 == sha256
            ),
            None,
        )
