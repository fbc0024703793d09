"""Starts SGLang and finds out when it can be used, whether it still works, and ends it.

Verified against SGLang 0.5.23: while it loads its port refuses, `/ready` then answers 503
until the warm-up is done and 200 from there on. `/health` generates a token: it takes at
least a second, also of a busy engine, and up to 20 seconds until it says no.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

import aiohttp

from engines import command
from engines.failure import Diagnosis, clean
from engines.process import EngineProcess
from router.models import EngineSpec
from router.pool.interfaces import EngineStartError
from router.scheduler.actions import Allotment
from router.secrets import Token
from router.tasks import finish

POLL = 0.1  # seconds between looks at an engine that is starting
_ANSWER_WITHIN = aiohttp.ClientTimeout(5.0)  # `/ready` and `/model_info` only look at flags
_HEALTH_WITHIN = aiohttp.ClientTimeout(22.0)  # SGLang itself gives up after 20
STOP_GRACE = 6.0  # SIGINT ends an idle engine in 0.4 to 2.5 s
KILL_AFTER = 10.0  # a process that holds a GPU may take its time to die

Sessions = Callable[[], aiohttp.ClientSession]


class SglangEngine:
    """A running SGLang. Implements `router.pool.interfaces.Engine`."""

    def __init__(
        self,
        process: EngineProcess,
        diagnosis: Diagnosis,
        url: str,
        served_name: str,
        sessions: Sessions,
    ) -> None:
        self._process = process
        self._diagnosis = diagnosis
        self._url = url
        self._served_name = served_name
        self._sessions = sessions

    @property
    def url(self) -> str:
        return self._url

    @property
    def served_name(self) -> str:
        return self._served_name

    async def exited(self) -> str:
        ended = await self._process.exited()
        return f"{ended}: {self._diagnosis.reason}"

    async def probe(self) -> bool:
        try:
            async with (
                self._sessions() as session,
                session.get(f"{self._url}/health", timeout=_HEALTH_WITHIN) as answer,
            ):
                return answer.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def stop(self, *, at_once: bool = False) -> None:
        await self._process.stop(0.0 if at_once else STOP_GRACE)


class SglangLauncher:
    """Starts `python -m sglang.launch_server`. Implements the port `EngineLauncher`.

    `environ` is the worker's environment, of which an engine sees what `command` allows;
    `hf_token` is the worker's, for the engines whose spec says so; `start_timeout` is in
    seconds and includes the loading of the weights.
    """

    def __init__(
        self,
        *,
        python: str,
        environ: Mapping[str, str],
        hf_token: Token | None,
        start_timeout: float,
        device: command.Device,
        media_domains: Sequence[str] = (),
        sessions: Sessions = aiohttp.ClientSession,
        log: logging.Logger | None = None,
    ) -> None:
        self._python = python
        self._environ = environ
        self._hf_token = hf_token
        self._start_timeout = start_timeout
        self._device = device
        self._media_domains = media_domains
        self._sessions = sessions
        self._log = log or logging.getLogger(__name__)

    async def start(
        self, spec: EngineSpec, snapshot: Path, allotment: Allotment
    ) -> SglangEngine:
        port = _free_port()
        name = command.served_name(spec.model)
        diagnosis = Diagnosis()

        def on_line(line: str) -> None:
            diagnosis.hear(line)
            self._log.info("engine[%s] %s", name, clean(line))

        try:
            process = await EngineProcess.spawn(
                command.argv(
                    spec,
                    snapshot,
                    port,
                    allotment,
                    python=self._python,
                    device=self._device,
                    media_domains=self._media_domains,
                ),
                command.environment(
                    self._environ, spec, device=self._device, hf_token=self._hf_token
                ),
                on_line,
                kill_after=KILL_AFTER,
            )
        except OSError as error:
            raise EngineStartError(f"the engine could not be started: {error}") from error
        engine = SglangEngine(
            process, diagnosis, f"http://127.0.0.1:{port}", name, self._sessions
        )
        try:
            await self._becomes_ready(engine, command.model_path(snapshot), diagnosis)
        except BaseException:
            # Even if this task is cancelled again: a failed start leaves no process.
            await finish(process.stop(grace=0))
            raise
        return engine

    async def _becomes_ready(
        self, engine: SglangEngine, model_path: str, diagnosis: Diagnosis
    ) -> None:
        """Return once the engine answers as itself. Raises `EngineStartError`."""
        exited = asyncio.create_task(engine.exited())
        ready = asyncio.create_task(self._answers(engine.url, model_path))
        try:
            await asyncio.wait(
                {exited, ready},
                timeout=self._start_timeout,
                return_when=asyncio.FIRST_COMPLETED,
            )
            # The exit first: another engine may have answered on the port of a dead one.
            if exited.done():
                raise EngineStartError(exited.result(), out_of_memory=diagnosis.out_of_memory)
            if not ready.done():
                raise EngineStartError(
                    f"not ready after {self._start_timeout:g} s; last: {diagnosis.reason}"
                )
            ready.result()
        finally:
            exited.cancel()
            ready.cancel()
            await asyncio.gather(exited, ready, return_exceptions=True)

    async def _answers(self, url: str, model_path: str) -> None:
        async with self._sessions() as session:
            while not await _is_ready(session, url):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(POLL)
            try:
                async with session.get(f"{url}/model_info", timeout=_ANSWER_WITHIN) as answer:
                    served = (await answer.json())["model_path"]
            except (
                aiohttp.ClientError,
                TimeoutError,
                ValueError,
                LookupError,
                TypeError,
            ) as error:
                raise EngineStartError(
                    f"it did not say which model it serves: {error}"
                ) from error
        if served != model_path:
            raise EngineStartError(f"something else answers on its port, serving {served!r}")


async def _is_ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}/ready", timeout=_ANSWER_WITHIN) as answer:
            return answer.status == HTTPStatus.OK
    except (aiohttp.ClientError, TimeoutError):
        return False


def _free_port() -> int:
    """A port that was free just now. Whoever takes it first, `/model_info` tells them apart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
