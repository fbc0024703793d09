"""A busy worker for pictures: a real router on a simulated GPU, with fake engines, waiting
callers, and engines that are killed."""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.e2e.harness import Harness
from tests.loopback_hub import LoopbackHub
from tests.page.simulated_gpu import NOTES
from tests.worker import Worker

CHAT, LLAMA = "Qwen/Qwen3-8B", "meta-llama/Llama-3.1-8B-Instruct"
EMBEDDINGS, VISION = "BAAI/bge-m3", "Qwen/Qwen3-VL-4B-Instruct"
LARGE, PRIVATE = "Qwen/Qwen3-14B", "acme/support-7b"
BROKEN = "someone/merged-13b-experiment"
MODELS_CONFIG = f"""
- {{model: {CHAT}, aliases: [default-chat], memory: 26GiB, pin: true}}
- {{model: {LLAMA}, memory: 21GiB}}
- {{model: {EMBEDDINGS}, aliases: [embeddings], memory: 3.5GiB}}
- {{model: {VISION}, aliases: [vision], memory: 14GiB}}
- {{model: {LARGE}, memory: 34GiB}}
- {{model: {PRIVATE}, memory: 15GiB}}
- {{model: {BROKEN}, memory: 20GiB}}
"""
_GIB = 1 << 30
_MIB = 1 << 20
# GiB; seconds to start; seconds between tokens.
_ENGINES = {
    CHAT: (25.4, 3.0, 0.04),
    LLAMA: (20.2, 4.0, 0.05),
    EMBEDDINGS: (3.1, 1.5, 0.0),
    VISION: (13.2, 9.0, 0.05),
    LARGE: (33.1, 6.0, 0.05),
    PRIVATE: (13.8, 4.0, 0.05),
    BROKEN: (0.0, 1.5, 0.0),
}
_LAST_WORDS = "ValueError: Unknown RoPE scaling type yarn2"
_ANSWER = (
    "A router starts an engine for each model that is asked for, and keeps it while there is "
    "room. When the GPU is full, the engine that has been idle for longest leaves first. "
)
CALLERS = ("ann", "ben", "nightly")
_MOST = 10_000  # tokens that an engine generates; each request asks for fewer
_PATIENCE = 120.0  # seconds


class Stage:
    """`keys`: the callers' keys, by name."""

    def __init__(self, harness: Harness, worker: Worker, keys: Mapping[str, str]) -> None:
        self.harness, self.worker, self.keys = harness, worker, keys
        self.operators_key = worker.environ["ADMIN_API_KEY"]
        self.token = harness.hub.add_account("acme")
        harness.hub.accept(LLAMA, "acme")
        self._pool = ThreadPoolExecutor(40)
        self.over = threading.Event()

    def ask(self, caller: str, model: str, *, tokens: int = 40, times: int = 1) -> None:
        """Start requests of a caller, each for so many tokens."""
        for _ in range(times):
            self._pool.submit(self._ask, caller, model, tokens)

    def answered(self, caller: str, model: str, *, tokens: int = 40, times: int = 1) -> None:
        """The same, but wait for the answers."""
        asked: list[Future[None]] = [
            self._pool.submit(self._ask, caller, model, tokens) for _ in range(times)
        ]
        for one in asked:
            one.result(_PATIENCE)

    def state(self) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.operators_key}"}
        with urlopen(Request(f"{self.worker.url}/admin/state", headers=headers)) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def until(self, model: str, holds: Callable[[dict[str, Any]], object]) -> None:
        """Wait until the condition is true for a model's engine."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            engines = self.state()["engines"]
            if any(holds(one) for one in engines if one["model"] == model):
                return
            time.sleep(0.1)
        raise TimeoutError(f"{model}: {self.state()}\n{self.worker.log}")

    def until_state(self, model: str, *states: str) -> None:
        self.until(model, lambda one: one["state"] in states)

    def end(self) -> None:
        """Make all callers leave."""
        self.over.set()
        self._pool.shutdown(cancel_futures=True)

    def _ask(self, caller: str, model: str, tokens: int) -> None:
        with (
            suppress(HTTPError, ConnectionError),
            urlopen(self._request(caller, model, tokens)) as answer,
        ):
            while not self.over.is_set() and answer.readline():
                pass

    def _request(self, caller: str, model: str, tokens: int) -> Request:
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self.keys[caller]}",
        }
        if model in (PRIVATE, LLAMA):
            headers["X-HF-Token"] = self.token
        if model == EMBEDDINGS:
            body: dict[str, Any] = {"model": model, "input": ["What is loaded?"] * 4}
            path = "embeddings"
        else:
            messages = [{"role": "user", "content": "What does a router do, and when?"}]
            body = {"model": model, "messages": messages, "max_tokens": tokens}
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            path = "chat/completions"
        url = f"{self.worker.url}/v1/{path}"
        return Request(url, json.dumps(body).encode(), headers)


@contextmanager
def staged() -> Iterator[Stage]:
    """The stage with nothing loaded."""
    with LoopbackHub() as hub, tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        harness = Harness(hub, folder)
        notes = folder / "gpu"
        notes.mkdir()
        _publish(harness, notes)
        keys = {name: secrets.token_hex(16) for name in CALLERS}
        file = folder / "keys.yaml"
        file.write_text(
            "".join(f"- {{name: {name}, key: {key}}}\n" for name, key in keys.items())
        )
        file.chmod(0o600)
        worker = harness.new_worker(
            MODELS_CONFIG=MODELS_CONFIG,
            ADMIN_API_KEY=secrets.token_hex(16),
            API_KEYS_FILE=str(file),
            CUDA_VISIBLE_DEVICES="0",
            SLEEP_MEMORY="4GiB",
            STANDBY_ENGINES="0",
            **{NOTES: str(notes)},
        )
        worker.program = [sys.executable, "-m", "tests.page.simulated_gpu"]
        with worker:
            stage = Stage(harness, worker, keys)
            try:
                yield stage
            finally:
                stage.end()


def _publish(harness: Harness, notes: Path) -> None:
    for name, (size, start, interval) in _ENGINES.items():
        broken: dict[str, Any] = (
            {"die_at_start": 1, "last_words": _LAST_WORDS} if name == BROKEN else {}
        )
        embeds = name == EMBEDDINGS
        harness.model(
            name,
            private=name == PRIVATE,
            gated=name == LLAMA,
            further=("modules.json",) if embeds else (),
            device=str(notes),
            memory=int(size * _GIB),
            kept_asleep=int(1.2 * _GIB),
            start_delay=start,
            interval=interval,
            answer=_ANSWER,
            tokens=_MOST,
            **broken,
        )
    weights = bytes(96 * _MIB)
    harness.hub.commit(PRIVATE, {"model.safetensors": weights})
    harness.hub.faults.add(f"/cdn/{sha256(weights).hexdigest()}/.*", "slow")
