"""Put secrets of every kind into a worker, then search everything that it shows.

The marker `control` is not a secret, and stands in each place that must not contain secrets. A
search that finds it would have found a secret too.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.caller import CHAT, chat
from tests.e2e.evidence import Evidence, found
from tests.e2e.harness import Harness
from tests.eventually import eventually
from tests.worker import Worker

HOUSE, NARROW, PUBLIC, PRIVATE = "acme/house", "acme/narrow", "acme/public", "acme/private"


@dataclass(frozen=True)
class Case:
    """The hidden secrets, and everything that was visible."""

    secrets: Mapping[str, str]  # by kind; for a token, the part after its prefix
    control: Mapping[str, str]
    evidence: Evidence
    router: bytes  # the router's own environment
    upstream: bytes  # everything that engines received

    def found(self, *places: bytes | str) -> set[str]:
        """Secrets found in places where the control was found."""
        assert found(self.control, *places), "the search does not find what is there"
        return found(self.secrets, *places)


@pytest.fixture(scope="module")
def case(harness: Harness) -> Case:
    hub = harness.hub
    control = secrets.token_hex(16)
    caller_tokens = {name: hub.add_account("acme") for name in ("in the header", "in the body")}
    own = {
        "HF_TOKEN": hub.add_account("acme"),
        "NARROW_TOKEN": hub.add_account("acme"),
        "API_KEYS": secrets.token_hex(16),
        **{name: secrets.token_hex(16) for name in ("RUNPOD_API_KEY", "AWS_SECRET_ACCESS_KEY")},
        **{name: secrets.token_hex(16) for name in ("SGLANG_API_KEY", "SGLANG_HUB_TOKEN")},
        "DATABASE_URL": f"postgres://me:{secrets.token_hex(16)}@localhost",
    }
    malformed = secrets.token_hex(16)
    for name in (HOUSE, NARROW):
        harness.model(name, gated=True)
    harness.model(PUBLIC)
    harness.model(PRIVATE, private=True)
    harness.model(f"acme/{control}", answer=control)

    evidence = Evidence()
    with harness.worker(
        LOG_LEVEL="DEBUG",
        MAX_LOADED_MODELS="5",
        MAX_DOWNLOADS="5",
        MODELS_CONFIG=f"[{{model: {HOUSE}}}, {{model: {NARROW}, token_env: NARROW_TOKEN}}]",
        **own,
    ) as worker:
        router = Path(f"/proc/{worker.pid}/environ").read_bytes()
        visit = Visit(worker, evidence, own["API_KEYS"])
        asyncio.run(visit.to_all_models(harness, caller_tokens, f"acme/{control}"))
        asyncio.run(visit.with_malformed(malformed))
    evidence.log = worker.log
    evidence.see_files(worker.directory)
    everything = {**caller_tokens, **own, "malformed": malformed}
    return Case(
        {role: _core(secret) for role, secret in everything.items()},
        {"control": control},
        evidence,
        router,
        harness.journal.path.read_bytes(),
    )


def _core(secret: str) -> str:
    """The longest part without separators. It survives when the secret is cut or quoted."""
    return max(secret.replace("_", ":").replace("@", ":").split(":"), key=len)


class Visit:
    def __init__(self, worker: Worker, evidence: Evidence, key: str) -> None:
        self._worker, self._evidence, self._key = worker, evidence, key

    async def to_all_models(
        self, harness: Harness, tokens: Mapping[str, str], control: str
    ) -> None:
        """Load all models at once and ask each. Their engines start one by one."""
        harness.hub.faults.add("/cdn/.*", "hang", times=None)
        header = {"X-HF-Token": tokens["in the header"]}
        bodies = [
            ({}, chat(HOUSE)),
            ({}, chat(NARROW)),
            ({}, chat(PUBLIC, hf_token=tokens["in the body"])),
            (header, chat(PRIVATE, stream=True)),
            ({}, chat(control)),
        ]
        async with self._evidence.of_processes(self._worker):
            calls = [asyncio.create_task(self.post(h, json.dumps(b))) for h, b in bodies]
            await eventually(lambda: len(self._evidence.downloads()) == len(bodies))
            harness.hub.faults.clear()
            for answer in await asyncio.gather(*calls):
                assert answer.startswith(b"HTTP/1.1 200 OK"), answer
            await asyncio.to_thread(self._evidence.see_processes, self._worker)
        models = await self.send(b"GET /v1/models HTTP/1.1", header)
        assert PRIVATE.encode() in models
        await self.send(b"GET /ping HTTP/1.1", {})  # logged at DEBUG

    async def with_malformed(self, core: str) -> None:
        """Send malformed requests. Each is refused, and no answer repeats its text."""
        tokens = [
            core,
            f"hf_{core}",
            f"Bearer {core}",
            f"{core} {core}",
            f"{core}é",
            core * 320,
        ]
        for token in tokens:
            await self.refused({"X-HF-Token": token}, json.dumps(chat(PUBLIC)))
            await self.refused({}, json.dumps(chat(PUBLIC, hf_token=token)))
        for value in (f"{core}\n", f" {core}", [core], {core: core}):
            await self.refused({}, json.dumps(chat(PUBLIC, hf_token=value)))
        body = json.dumps(chat(PUBLIC))
        await self.refused({"X-HF-Token": f"{core}\r\nX-HF-Token: {core}"}, body)
        await self.refused({"X-HF-Token": f"{core}\r\n {core}"}, body)
        await self.refused({"X-HF-Token\0": core}, body)
        await self.refused({"Authorization": f"Bearer {core}"}, body)
        await self.refused({"Content-Type": f"text/{core}"}, body)
        await self.refused({"Cookie": core * 320}, body)
        await self.refused({}, f'{{"model": "{PUBLIC}", "hf_token": "{core}"')
        for line in (
            f"GET /v1/{core} HTTP/1.1",
            f"GET {CHAT}?hf_token={core} HTTP/1.1",
            f"{core.upper()} {CHAT} HTTP/1.1",
            f"GET /ping HTTP/{core}",
            f"{core}",
        ):
            answer = await self.send(line.encode(), {})
            assert b" 4" in answer.partition(b"\r\n")[0], answer

    async def refused(self, headers: Mapping[str, str], body: str) -> None:
        answer = await self.post(headers, body)
        assert b" 4" in answer.partition(b"\r\n")[0], answer

    async def post(self, headers: Mapping[str, str], body: str) -> bytes:
        length = {"Content-Length": str(len(body.encode()))}
        return await self.send(
            f"POST {CHAT} HTTP/1.1".encode(), {**length, **headers}, body.encode()
        )

    async def send(self, line: bytes, headers: Mapping[str, str], body: bytes = b"") -> bytes:
        """Send a request, with the API key unless the headers have their own."""
        usual = {
            "Host": "localhost",
            "Connection": "close",
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._key}",
        }
        lines = [f"{name}: {value}".encode() for name, value in {**usual, **headers}.items()]
        request = b"\r\n".join([line, *lines, b"", body])
        return await self._evidence.ask(self._worker.url, request)


def test_not_even_the_workers_own_environment_shows_any(case: Case) -> None:
    assert b"HF_HOME=" in case.router
    assert not found(case.secrets, case.router)


def test_the_log_has_none(case: Case) -> None:
    assert " DEBUG " in case.evidence.log
    assert not case.found(case.evidence.log)


def test_no_answer_has_any(case: Case) -> None:
    assert len(case.evidence.answers) > 30
    assert not case.found(*case.evidence.answers)


def test_no_command_line_has_any(case: Case) -> None:
    assert not case.found(*(process.command for process in case.evidence.processes))


def test_no_file_of_the_workers_has_any(case: Case) -> None:
    names = map(str, case.evidence.files)
    assert not case.found(*case.evidence.files.values())
    assert not case.found(*names)


def test_no_request_to_an_engine_has_any(case: Case) -> None:
    assert not case.found(case.upstream)


def test_no_download_has_any_in_its_environment(case: Case) -> None:
    downloads = [p.environment for p in case.evidence.processes if p.is_download]
    assert len(case.evidence.downloads()) == 5
    assert not found(case.secrets, *downloads)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [(HOUSE, {"HF_TOKEN"}), (NARROW, set()), (PUBLIC, set()), (PRIVATE, set())],
)
def test_only_the_engine_of_an_operators_gated_model_has_hf_token(
    case: Case, model: str, tokens: set[str]
) -> None:
    environments = [p.environment for p in case.evidence.processes if p.is_engine(model)]
    assert environments
    assert found(case.secrets, *environments) == tokens


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "{} with a space"),
        ("HF_TOKEN", "Bearer {}"),
        ("HF_TOKEN", "{}é"),
        ("API_KEYS", "{} {}"),
        ("NARROW_TOKEN", "{}\u200b"),
    ],
)
def test_a_setting_that_can_not_be_used_is_named_and_not_shown(
    harness: Harness, name: str, value: str
) -> None:
    secret = secrets.token_hex(16)
    config = "[{model: acme/house, token_env: NARROW_TOKEN}]"
    worker = harness.new_worker(MODELS_CONFIG=config, **{name: value.replace("{}", secret)})
    worker.start()
    try:
        assert worker.wait() == 2
    finally:
        worker.end()
    assert f"can't be used: {name}=" in worker.log
    assert secret not in worker.log
