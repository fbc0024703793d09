"""Starts SGLang, checks whether it still works, and stops it.

Verified with SGLang 0.5.23. `/health` generates a token. It takes at least a second, on a busy
engine too, and up to 20 seconds to report a failure.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import aiohttp

from engines import command
from engines.engine_output import EngineOutput
from engines.engine_port import EnginePort, bind_port
from engines.engine_user import User, Workspace, Workspaces
from engines.gate import EngineGate
from engines.kernel_cache import KernelCache
from engines.needs import ModelNeeds, needs_of
from engines.process import EngineProcess
from engines.readiness import Sessions, until_ready
from engines.sleep import SleepSwitch
from engines.start_watch import StartWatch
from router.models import EngineSpec, Task
from router.pool.interfaces import EngineStartError, Gate
from router.scheduler.actions import Allotment
from router.secrets import Token
from router.side_process import Aside
from router.tasks import finish

_HEALTH_TIMEOUT = aiohttp.ClientTimeout(22.0)  # SGLang itself fails after 20
STOP_GRACE = 6.0  # seconds; SIGINT ends an idle engine in 0.4 to 2.5
_KILLED = " (by hand, or by the kernel where memory ran out)"
KILL_AFTER = 10.0  # seconds; a process that uses a GPU may die slowly


class SglangEngine:
    """A running SGLang server. Implements `router.pool.interfaces.Engine`."""

    def __init__(
        self,
        process: EngineProcess,
        output: EngineOutput,
        port: EnginePort,
        served_name: str,
        workspace: Workspace,
        *,
        needs: ModelNeeds,
        sessions: Sessions,
        task: Task = Task.GENERATE,
        sleeps: bool = False,
    ) -> None:
        self._process = process
        self._workspace = workspace
        self._output = output
        self.url, self.port_key, self.signed = port.url, port.key, port.signed
        self.served_name = served_name
        self.context_length: int | None = None
        self.phases: Mapping[str, float] = {}
        self.vocabulary, self.scores_pairs = needs.vocabulary, needs.scores_pairs
        self._sessions = sessions
        self._switch = SleepSwitch(self.url, self.signed, task, able=sleeps, sessions=sessions)

    async def exited(self) -> str:
        ended = await self._process.exited()
        hint = _KILLED if ended.signal == signal.SIGKILL else ""
        error = str(self._output.failure)
        return f"{ended}{hint}: {error}" if error else f"{ended}{hint}"

    async def probe(self) -> bool:
        if not self._switch.awake:
            return True  # `exited` reports whether it still runs
        with self._switch.probing():
            return await self._is_healthy()

    async def sleep(self) -> None:
        await self._switch.sleep()

    async def wake(self) -> None:
        await self._switch.wake()

    async def _is_healthy(self) -> bool:
        try:
            async with (
                self._sessions() as session,
                session.get(
                    f"{self.url}/health", headers=self.signed, timeout=_HEALTH_TIMEOUT
                ) as answer,
            ):
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def keep_kernels(self) -> None:
        """Keep the compiled kernels. Call it before the engine serves its first request."""
        if self._workspace.kernels is not None:
            await asyncio.to_thread(self._workspace.kernels.keep)

    async def stop(self, *, at_once: bool = False) -> None:
        self._output.ends = True
        await self._process.stop(0.0 if at_once else STOP_GRACE)
        await asyncio.to_thread(self._workspace.clear)


class SglangLauncher:
    """Runs SGLang's `launch_server`. Implements `EngineLauncher`."""

    def __init__(
        self,
        *,
        python: str,
        environ: Mapping[str, str],
        hf_token: Token | None,
        start_timeout: float,
        device: command.Device,
        user: User | None = None,
        media_domains: Sequence[str] = (),
        kernels: KernelCache | None = None,
        sessions: Sessions = aiohttp.ClientSession,
        aside: Aside | None = None,
        log: logging.Logger | None = None,
        keep: Callable[[str, str], None] | None = None,
    ) -> None:
        """Arguments:

        python          the interpreter that has SGLang
        environ         the worker's environment; `command` says which part an engine gets
        hf_token        the worker's token, for engines with `hf_token` in their spec
        start_timeout   seconds, including the time to load the weights
        device          where engines run
        user            the user of the engines, where possible; None: the router's own
        media_domains   hosts from which an engine may load media
        kernels         keeps compiled kernels; None: they are not kept
        sessions        makes the HTTP sessions for status requests
        aside           the side process that reads models' files; None: a thread reads them
        log             for the engines' output
        keep            called with the model and each line of its engine's output
        """
        self._python = str(Path(python).absolute()) if "/" in python else python
        self._environ = environ
        self._hf_token = hf_token
        self._start_timeout = start_timeout
        self._device = device
        self._workspaces = Workspaces(user, python)
        self._media_domains, self._kernels = media_domains, kernels
        self._sessions, self._aside = sessions, aside
        self._log = log or logging.getLogger(__name__)
        self._keep = keep

    async def start(
        self,
        spec: EngineSpec,
        snapshot: Path,
        allotment: Allotment,
        gate: Gate | None = None,
    ) -> SglangEngine:
        if gate is not None and not command.may_wait(spec, allotment, self._device):
            allotment, gate = await gate.opened(), None
        name = command.served_name(spec.model)
        output = EngineOutput(spec.model.repo_id, name, self._log, self._keep)

        cache = command.cache_size(self._device)
        needs = await needs_of(snapshot, spec.model.task, cache, self._aside)
        if spec.own_template:  # the flags replace the model's chat template
            needs = replace(needs, scores_pairs=None)
        process, workspace, port, own_gate = await self._spawn(
            spec, snapshot, needs, allotment, output, waits=gate is not None
        )
        engine = SglangEngine(
            process,
            output,
            port,
            name,
            workspace,
            needs=needs,
            sessions=self._sessions,
            task=spec.model.task,
            sleeps=allotment.sleeps,
        )
        watch = StartWatch(engine.exited, output.failure, self._start_timeout)
        try:
            if gate is not None and own_gate is not None:
                await _pass(EngineGate(own_gate, self._sessions), gate, watch)
            ready = until_ready(engine, command.model_path(snapshot), self._sessions)
            facts = await watch.step(ready)
            engine.context_length, engine.phases = facts.context_length, facts.phases
            await engine.keep_kernels()
            output.failure.started()
        except BaseException:
            # `finish` runs to the end even if this task is canceled, so that a failed start
            # leaves no process.
            await finish(engine.stop(at_once=True))
            raise
        return engine

    async def _spawn(
        self,
        spec: EngineSpec,
        snapshot: Path,
        needs: ModelNeeds,
        allotment: Allotment,
        on_line: Callable[[str], None],
        *,
        waits: bool,
    ) -> tuple[EngineProcess, Workspace, EnginePort, EnginePort | None]:
        """Start the process. If it `waits` before it loads, the second port is its gate."""
        try:
            workspace = await self._make_workspace(spec, snapshot)
        except OSError as error:
            raise EngineStartError(f"the engine has no place to run in: {error}") from error
        environment = command.environment(
            self._environ,
            spec,
            workspace=workspace,
            device=self._device,
            hf_token=self._hf_token,
            pools_mean=needs.pools_mean,
        )
        try:
            with ExitStack() as ports:
                port = ports.enter_context(bind_port())
                gate = ports.enter_context(bind_port()) if waits else None
                argv = command.argv(
                    spec,
                    snapshot,
                    port,
                    allotment,
                    python=self._python,
                    device=self._device,
                    gate=gate,
                    own=needs.flags,
                    media_domains=self._media_domains,
                )
                process = await EngineProcess.spawn(
                    argv,
                    environment,
                    on_line,
                    hand_down=command.files(port, gate),
                    user=workspace.user,
                    directory=workspace.directory,
                    kill_after=KILL_AFTER,
                )
        except (OSError, ValueError) as error:  # or a word that no command line can hold
            await finish(asyncio.to_thread(workspace.clear))
            raise EngineStartError(f"the engine could not be started: {error}") from error
        return process, workspace, port, gate

    async def _make_workspace(self, spec: EngineSpec, snapshot: Path) -> Workspace:
        """Make the engine's directories. If canceled, remove them again."""
        made: list[Workspace] = []

        def build() -> Workspace:
            workspace = self._workspaces.new(snapshot)
            if self._kernels is None:
                return workspace
            return replace(workspace, kernels=self._kernels.open(spec, workspace.user))

        async def make() -> None:
            made.append(await asyncio.to_thread(build))

        try:
            await finish(make())
        except asyncio.CancelledError:
            for workspace in made:
                await finish(asyncio.to_thread(workspace.clear))
            raise
        return made[0]


async def _pass(engines: EngineGate, gate: Gate, watch: StartWatch) -> None:
    """Hold the engine at its own gate until the pool opens `gate`."""
    await watch.step(engines.reached())
    gate.standing()
    await watch.pause(gate.opened())
    await watch.step(engines.open())
