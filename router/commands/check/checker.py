"""Checks a model: runs the steps of a request that would start it, up to its download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from engines.command import Device, cache_size
from engines.needs import needs_of
from router.access.authorize import Admission
from router.access.decision import Admitted
from router.app.configuration import Configuration
from router.commands.check.verdict import MemoryNeed, ModelVerdict, NeededFile
from router.config.catalog import engine_spec
from router.downloads.cache_check import cache_problem
from router.downloads.errors import storage_error
from router.downloads.inspection import SnapshotInspector
from router.downloads.snapshots import Snapshots
from router.downloads.space import DiskSpace, existing
from router.errors import InsufficientDisk, RouterError, StorageFailed
from router.models import EngineSpec, MemoryPlan, ModelRef
from router.pool.interfaces import EngineStartError, Snapshot
from router.repository.files import RemoteFile
from router.requests.fitting import check_served
from router.scheduler import memory, rejections
from router.scheduler.history import History, Stage
from router.secrets import Token


@dataclass(frozen=True, slots=True)
class Target:
    """The device for which models are checked."""

    device: Device
    budget: int  # bytes of each device, for all engines


@dataclass(frozen=True, slots=True)
class Checker:
    """The parts of a worker that judge a model. It starts nothing and keeps nothing."""

    configuration: Configuration
    admission: Admission
    inspector: SnapshotInspector
    space: DiskSpace
    history: History
    target: Target

    async def check(self, name: str, token: Token | None, asked_with: str) -> ModelVerdict:
        """Check one model. An error that a caller would get is part of the verdict."""
        steps = _Steps(self, ModelVerdict(name, asked_with))
        try:
            await steps.run(name, token)
        except RouterError as error:
            steps.verdict = replace(steps.verdict, refusal=error)
        except EngineStartError as error:
            refusal = StorageFailed(f"The model can't be judged: {error}.")
            steps.verdict = replace(steps.verdict, refusal=refusal)
        except OSError as error:  # for example, no room for the small files
            reason = error.strerror or error
            refusal = StorageFailed(f"This machine's disk can't be used: {reason}.")
            steps.verdict = replace(steps.verdict, refusal=refusal)
        return steps.verdict


class _Steps:
    """One check. `verdict` grows with each step."""

    def __init__(self, checker: Checker, verdict: ModelVerdict) -> None:
        self._checker, self.verdict = checker, verdict
        self._settings = checker.configuration.settings
        self._files: dict[str, NeededFile] = {}

    async def run(self, name: str, token: Token | None) -> None:
        admitted = await self._checker.admission.admit(name, token)
        spec = engine_spec(
            admitted.model,
            admitted.operator,
            self._settings,
            self._checker.configuration.engine_flags,
        )
        self.verdict = replace(
            self.verdict,
            model=spec.model,
            group=spec.group,
            max_concurrency=spec.max_concurrency,
            max_queue=spec.max_queue,
        )
        check_served(spec.model)
        self._note_other_callers(admitted, token)
        try:
            await self._look_at_files(admitted, spec)
        finally:
            files = tuple(self._files.values())
            self.verdict = replace(self.verdict, files=files)
        self._check_budget()
        await self._check_disk(spec)

    async def _look_at_files(self, admitted: Admitted, spec: EngineSpec) -> None:
        def told(file: RemoteFile, on_disk: bool) -> None:  # noqa: FBT001 - see `Inspected`
            self._files[file.name] = NeededFile(file.name, file.size, on_disk)

        looked = self._checker.inspector.inspected(
            admitted.model,
            admitted.download_credential,
            told,
            flags=spec.flags,
            claim=spec.memory,
        )
        async with looked as snapshot:
            await self._describe(spec, snapshot)

    async def _describe(self, spec: EngineSpec, snapshot: Snapshot) -> None:
        cache = cache_size(self._checker.target.device)
        needs = await needs_of(snapshot.path, spec.model.task, cache, None)
        size = sum(file.size for file in self._files.values())
        self.verdict = replace(
            self.verdict,
            flags=(*needs.flags.usual, *spec.flags, *needs.flags.needed),
            memory=self._need(spec, snapshot.plan, cache) if snapshot.plan else None,
            start_seconds=self._checker.history.known(Stage.START, spec.key, size),
        )

    def _need(self, spec: EngineSpec, plan: MemoryPlan, fixed_cache: int | None) -> MemoryNeed:
        budget = self._checker.target.budget
        measured = self._checker.history.memory(spec.key)
        share = budget // (self._settings.max_loaded_models or 1)
        claim = memory.claim(
            spec, plan, measured, memory.Shrink.NONE, device=budget, share=share
        )
        alone = memory.claim(
            replace(spec, memory=budget),
            plan,
            None,
            memory.Shrink.NONE,
            device=budget,
            share=budget,
        )
        cache = alone.tokens if fixed_cache is None else fixed_cache
        return MemoryNeed(
            plan.weights,
            plan.overhead,
            plan.token,
            plan.sequence,
            claim.memory,
            claim.tokens if fixed_cache is None else fixed_cache,
            plan.context,
            plan.context if cache is None else min(plan.context, cache),
            plan.devices,
            measured is not None and spec.memory is None,
        )

    def _check_budget(self) -> None:
        need, budget = self.verdict.memory, self._checker.target.budget
        if need is not None and need.claim > budget:
            raise rejections.too_large(need.claim, need.gpus, budget, need.gpus)

    async def _check_disk(self, spec: EngineSpec) -> None:
        missing = self.verdict.to_download
        if not missing:
            return
        cache, repo_id = self._settings.hf_hub_cache, spec.model.repo_id
        problem = cache_problem(existing(cache))
        if problem is not None:
            raise storage_error(problem, repo_id) or problem
        with self._checker.space.reservation() as reservation:
            comes, total = (repo_id, spec.model.commit), self.verdict.size
            try:
                await reservation.reserve(comes, missing, total - missing, total)
            except InsufficientDisk:
                if missing > _removable(cache):
                    raise
                self._note(
                    "the disk is short: models that were not used lately are removed for it"
                )

    def _note_other_callers(self, admitted: Admitted, token: Token | None) -> None:
        """Note if callers without a token can't use the model.

        Here HF_TOKEN stood in for a caller's token.
        """
        configuration = self._checker.configuration
        if token is None or token != self._settings.hf_token or admitted.operator is not None:
            return
        credentials = configuration.credentials
        choice = credentials.choose(None, None, ModelRef(admitted.model.repo_id))
        if choice.token is None:
            self._note(f"callers without a token do not get it: {credentials.reason}")

    def _note(self, text: str) -> None:
        self.verdict = replace(self.verdict, notes=(*self.verdict.notes, text))


def _removable(cache: Path) -> int:
    """Bytes of all snapshots that the router has downloaded. Others are never removed."""
    snapshots = Snapshots(cache)
    files = {
        file: size
        for each in snapshots.all()
        for file, size in snapshots.own_files(*each).items()
    }
    return sum(files.values())
