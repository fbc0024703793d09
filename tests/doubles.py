"""Fakes of the Hub and of engines, with the interfaces that the service uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from router.errors import HubUnavailable, InvalidHfToken, ModelGated, ModelNotFound
from router.hub.interfaces import ANYBODY, Asker, Hub, HubAnswer
from router.models import Access, ModelRef, ResolvedModel, Task
from router.requests.interfaces import (
    UpstreamLost,
    UpstreamRequest,
    UpstreamResponse,
    pour_read,
)
from router.secrets import Token
from router.side_process import Body, pieces

T = TypeVar("T")


@dataclass
class Repo:
    model: ResolvedModel
    readers: set[str] | None = None  # digests of tokens; None: everybody
    commits: set[str] = field(default_factory=set)


class FakeHub:
    """Repositories and their readers. Records each question with the token that asked it."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.asked: list[tuple[str, str, str]] = []  # (question, about, digest)
        self.bad_tokens: set[str] = set()  # digests
        self.down = False
        self.hangs = False
        self.pause = asyncio.Event()  # when cleared, names are not resolved
        self.pause.set()
        self.answered = asyncio.Event()

    def add(
        self,
        repo_id: str,
        *readers: Token,
        commit: str = "1" * 40,
        task: Task = Task.GENERATE,
        gated: bool = False,
        created: int = 0,
        reranks: bool | None = None,
    ) -> ResolvedModel:
        access = Access.GATED if gated else Access.PRIVATE if readers else Access.PUBLIC
        model = ResolvedModel(repo_id, commit, task, access, created=created, reranks=reranks)
        known = self.repos.get(repo_id)
        commits = (known.commits if known else set()) | {commit}
        digests = {reader.digest for reader in readers} if readers or gated else None
        self.repos[repo_id] = Repo(model, digests, commits)
        return model

    def rename(self, old: str, new: str) -> None:
        self.repos[old] = self.repos[new]

    async def resolve(self, ref: ModelRef, credential: Token | None) -> ResolvedModel:
        if self.hangs:
            await asyncio.Event().wait()
        await self.pause.wait()
        repo = self._find("resolve", ref.repo_id, credential, f"@{ref.revision}")
        if repo.model.access is Access.PRIVATE:
            self._check(repo, credential)
        if ref.revision in repo.commits:
            return replace(repo.model, commit=ref.revision)
        return repo.model

    async def entitle(self, model: ResolvedModel, credential: Token | None) -> None:
        repo = self._find("entitle", f"{model.repo_id}", credential)
        self._check(repo, credential)
        if model.commit not in repo.commits:
            raise ModelNotFound("no such commit")

    def _find(
        self, question: str, repo_id: str, credential: Token | None, at: str = "@None"
    ) -> Repo:
        about = repo_id + at.removesuffix("@None")
        self.asked.append((question, about, credential.digest if credential else ""))
        self.answered.set()
        if self.down:
            raise HubUnavailable("down")
        if credential is not None and credential.digest in self.bad_tokens:
            raise InvalidHfToken("revoked")
        if repo_id not in self.repos:
            raise ModelNotFound(f"{repo_id} does not exist")
        return self.repos[repo_id]

    def _check(self, repo: Repo, credential: Token | None) -> None:
        if repo.readers is None or (credential and credential.digest in repo.readers):
            return
        if repo.model.access is Access.GATED:
            raise ModelGated(f"{repo.model.repo_id} is gated")
        raise ModelNotFound(f"{repo.model.repo_id} does not exist")


class UncachedHub:
    """Implements `CachingHub` without a cache: each question reaches the `hub`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.accepted: set[str] = set()

    async def resolve(
        self, ref: ModelRef, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[ResolvedModel]:
        answer = HubAnswer(await self._hub.resolve(ref, credential))
        self.accepted |= {credential.digest} if credential else set()
        return answer

    async def entitle(
        self, model: ResolvedModel, credential: Token | None, asker: Asker = ANYBODY
    ) -> HubAnswer[None]:
        await self._hub.entitle(model, credential)
        return HubAnswer(None)


@dataclass
class Answer:
    """An engine's answer to one request.

    * An event among the `chunks`: wait for it.
    * `lost_after`: chunks until the connection breaks.
    * `thinks`: wait for it before the head.
    """

    chunks: tuple[bytes | asyncio.Event, ...] = (b"{}",)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    lost_after: int | None = None
    refuses: bool = False
    hangs: bool = False
    thinks: asyncio.Event | None = None


class FakeUpstream:
    """Gives the answers in turn and repeats the last one. Records the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers) or [Answer()]
        self.sent: list[UpstreamRequest] = []
        self.open_now = 0

    @asynccontextmanager
    async def open(self, request: UpstreamRequest) -> AsyncIterator[UpstreamResponse]:
        self.sent.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.thinks is not None:
            await answer.thinks.wait()
        if answer.refuses:
            raise UpstreamLost("connection refused", reached=False)
        self.open_now += 1
        try:
            yield _EngineAnswer(answer)
        finally:
            self.open_now -= 1


class _EngineAnswer:
    def __init__(self, answer: Answer) -> None:
        self._answer, self._read = answer, 0
        self.status, self.headers = answer.status, answer.headers

    async def pour(self, sink: Callable[[bytes], bool]) -> bool:
        return await pour_read(self.read, sink)

    async def read(self) -> bytes:
        """Read a chunk. Canceling a read loses nothing, like in aiohttp."""
        while self._read < len(self._answer.chunks):
            if self._read == self._answer.lost_after:
                raise UpstreamLost("connection reset")
            chunk = self._answer.chunks[self._read]
            if isinstance(chunk, bytes):
                self._read += 1
                return chunk
            await chunk.wait()
            self._read += 1
        if self._read == self._answer.lost_after:
            raise UpstreamLost("connection reset")
        if self._answer.hangs:
            await asyncio.Event().wait()
        return b""


def whole(body: Body) -> bytes:
    return b"".join(pieces(body))


class FakeAside:
    """`SideProcesses` that work in this process, one step at a time."""

    def __init__(self) -> None:
        self.done: list[str] = []  # names of the functions that ran
        self.pause = asyncio.Event()  # when cleared, work waits until it is set
        self.pause.set()
        self.failure: Exception | None = None

    async def run(
        self, work: Callable[..., tuple[T, bytes]], *arguments: object, data: Body = b""
    ) -> tuple[T, tuple[bytes, ...]]:
        self.done.append(work.__name__)
        await self.pause.wait()
        if self.failure is not None:
            raise self.failure
        result, returned = work(whole(data), *arguments)
        return result, tuple(map(bytes, pieces(returned)))
