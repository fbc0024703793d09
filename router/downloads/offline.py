"""Replaces the Hub if the operator has turned it off (`HF_HUB_OFFLINE`).

Nothing can be checked then, so a model that would need a check is not served:

The operator's models    to callers without their own token, as they are on the disk
Other public models      if the worker last saw them public within `PUBLIC_GRACE`
All others               to nobody: a private model on the disk looks like a missing one
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from router.downloads.last_used import LastUsed
from router.downloads.snapshots import Snapshots, has_safe_weights
from router.errors import ModelNotAllowed
from router.models import Access, ModelRef, ResolvedModel, Task
from router.repository.on_disk import is_whole
from router.secrets import Token

_CLOCKS_DIFFER = 300.0  # seconds by which the clocks of a volume's workers may differ


class OfflineHub:
    """Implements `router.hub.interfaces.Hub` without a network."""

    def __init__(
        self,
        caches: Sequence[Path],
        *,
        operators: Collection[ModelRef],
        own_tokens: Collection[Token],
        public: LastUsed,
        grace: float,
        unsafe_weights: bool,
        task_of: Callable[[Path, str], Task],
    ) -> None:
        """Arguments:

        caches          where a snapshot may be, in order of preference
        operators       the models that the operator named
        own_tokens      the operator's tokens; any other token is a caller's, and is refused
        public          records when a model was last seen public
        grace           seconds for which such a record holds
        unsafe_weights  whether the operator allows pickles
        task_of         returns the task of a directory's model, by its files and its name
        """
        self._caches, self._public, self._grace = caches, public, grace
        self._own_tokens, self._task_of = frozenset(own_tokens), task_of
        self._unsafe_weights = unsafe_weights
        self.name_operators(operators)
        self._granted: set[tuple[str, str]] = set()  # repository and commit

    def name_operators(self, refs: Iterable[ModelRef]) -> None:
        """Replace the operator's models."""
        self._operators = {_key(ref): ref for ref in refs}

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        self._refuse_callers(credential)
        return await asyncio.to_thread(self._resolve, ref)

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        self._refuse_callers(credential)
        commit = (model.repo_id, model.commit)
        if commit not in self._granted and not await asyncio.to_thread(
            self._is_public, *commit
        ):
            raise _not_served(ModelRef(model.repo_id))

    async def reconnect(self) -> None:
        """There are no connections."""

    async def close(self) -> None:
        """There are no connections."""

    def _refuse_callers(self, credential: Token | None) -> None:
        if credential is not None and credential not in self._own_tokens:
            raise ModelNotAllowed(
                "This worker is offline (HF_HUB_OFFLINE) and can't check a Hugging Face token: "
                "send none."
            )

    def _resolve(self, ref: ModelRef) -> ResolvedModel:
        operators = self._operators.get(_key(ref))
        found = self._operators_snapshot(operators) if operators else self._public_one(ref)
        if found is None:
            raise _not_on_disk(ref) if operators else _not_served(ref)
        repo_id, snapshot, sealed = found
        if sealed and not (self._unsafe_weights or has_safe_weights(snapshot)):
            self._is_whole(repo_id, snapshot)  # raises the reason
        commit = snapshot.name
        if operators:
            self._granted.add((repo_id, commit))
        return ResolvedModel(
            repo_id,
            commit,
            self._task_of(snapshot, repo_id),
            Access.PUBLIC if self._is_public(repo_id, commit) else Access.PRIVATE,
            # With a path, because a snapshot without a manifest would be downloaded again.
            path=None if sealed else snapshot,
            branch=ref.branch,
        )

    def _public_one(self, ref: ModelRef) -> tuple[str, Path, bool] | None:
        """Find a public model. Reads no snapshot of a model that is not known to be public."""
        for repo_id, commit in self._public.all():
            if repo_id.casefold() != ref.repo_id.casefold():
                continue
            if not self._is_public(repo_id, commit):
                continue
            for cache in self._caches:
                snapshots = Snapshots(cache)
                means = commit == ref.revision or (
                    ref.branch is not None
                    and snapshots.refs.commit(repo_id, ref.branch) == commit
                )
                if means and (found := snapshots.find(repo_id, commit)) is not None:
                    return repo_id, found, True
        return None

    def _operators_snapshot(self, ref: ModelRef) -> tuple[str, Path, bool] | None:
        """Find an operator's model, even one that another Hub client has downloaded."""
        for cache in self._caches:
            snapshots = Snapshots(cache)
            for repo_id in _spellings(cache, ref.repo_id):
                commit = ref.revision if ref.branch is None else None
                if ref.branch is not None:
                    commit = snapshots.refs.commit(repo_id, ref.branch)
                if commit is None or not ModelRef(repo_id, commit).is_commit:
                    continue
                if (found := snapshots.find(repo_id, commit)) is not None:
                    return repo_id, found, True
                path = snapshots.path(repo_id, commit)
                if path.is_dir() and self._is_whole(repo_id, path):
                    return repo_id, path, False
        return None

    def _is_whole(self, repo_id: str, snapshot: Path) -> bool:
        """Whether the snapshot is complete. Raises `UnsupportedModel` if a download of it would
        be refused."""
        with suppress(OSError):
            return is_whole(snapshot, repo_id, unsafe_weights=self._unsafe_weights)
        return False

    def _is_public(self, repo_id: str, commit: str) -> bool:
        if not self._public.path(repo_id, commit).is_file():
            return False
        # A clock that was far ahead would make the grace longer.
        return -_CLOCKS_DIFFER < self._public.seconds_ago(repo_id, commit) < self._grace


def _key(ref: ModelRef) -> tuple[str, str | None]:
    return ref.repo_id.casefold(), ref.branch or ref.revision


def _spellings(cache: Path, repo_id: str) -> Iterator[str]:
    """The repository's ids in the cache: RunPod's may be in lower case."""
    wanted = f"models--{repo_id.replace('/', '--')}".casefold()
    with suppress(OSError):
        for folder in sorted(cache.iterdir()):
            if folder.name.casefold() == wanted:
                yield folder.name.removeprefix("models--").replace("--", "/", 1)


def _not_on_disk(ref: ModelRef) -> ModelNotAllowed:
    """For the operator's models only: nobody may learn which other models the disk has."""
    return ModelNotAllowed(
        f"This worker is offline (HF_HUB_OFFLINE), and {ref} is not on its disk, or not all of "
        "it. Its operator can bring it there: `hf download`."
    )


def _not_served(ref: ModelRef) -> ModelNotAllowed:
    return ModelNotAllowed(
        f"This worker is offline (HF_HUB_OFFLINE). {ref} is neither one of its operator's "
        "models nor a public one that it has on its disk: choose one of /v1/models, or ask the "
        "operator."
    )
