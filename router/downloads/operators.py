"""Knows which snapshots are the operator's: these are never removed to make room."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from router.models import EngineKey, ModelRef


class OperatorsSnapshots:
    """Finds them by the catalog, and by the engines of the operator's entries.

    The commit of a branch is unknown until a request resolves it. Until then, all commits of
    that repository stay.
    """

    def __init__(self, refs: Iterable[ModelRef]) -> None:
        self._refs = _by_repo(refs)
        self._seen: dict[str, set[str]] = {}  # commits, by repository in lower case

    def name(self, refs: Iterable[ModelRef]) -> None:
        """Replace the catalog's models. Snapshots of unlisted models may then be removed."""
        self._refs = _by_repo(refs)
        self._seen = {repo: seen for repo, seen in self._seen.items() if repo in self._refs}

    def note(self, keys: Iterable[EngineKey]) -> None:
        """Note the commits of the operator's engines in the pool."""
        for key in keys:
            if key.listed:
                self._seen.setdefault(key.repo_id.casefold(), set()).add(key.commit)

    def include(self, repo_id: str, commit: str) -> bool:
        repo = repo_id.casefold()
        refs = self._refs.get(repo, ())
        seen = self._seen.get(repo, set())
        if commit in seen or any(ref.revision == commit for ref in refs):
            return True
        branches = sum(not ref.is_commit for ref in refs)
        return branches > len(seen)


def _by_repo(refs: Iterable[ModelRef]) -> Mapping[str, Sequence[ModelRef]]:
    """By repository in lower case: they are looked up for each snapshot."""
    grouped: dict[str, list[ModelRef]] = defaultdict(list)
    for ref in refs:
        grouped[ref.repo_id.casefold()].append(ref)
    return dict(grouped)
