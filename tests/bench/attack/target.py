"""The target of the attacks: a worker, and the models on the Hub that attackers request."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fake_engine import FILE, PYTHON, behaviour
from tests.loopback_hub import LoopbackHub
from tests.servable import servable
from tests.worker import Worker

SHARED = "bench/shared"  # the model that everybody uses
ENDLESS = "evil/endless"  # an engine that never becomes ready
OTHERS = tuple(f"evil/model-{number}" for number in range(8))
LARGE = tuple(f"evil/large-{number}" for number in range(8))
SIZE = 30_000_000  # bytes of each large model


@dataclass(frozen=True, slots=True)
class Target:
    """The address to attack, and the attacker's credentials."""

    url: str
    key: str  # the attacker's own API key
    token: str  # the attacker's own Hub token, which is valid

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Target:
        return cls(**json.loads(path.read_text()))


def stock(hub: LoopbackHub) -> str:
    """Put the models on the Hub. Returns the attacker's token."""
    _add(hub, SHARED, tokens=500, interval=0.02)
    _add(hub, ENDLESS, never_ready=True)
    for name in OTHERS:
        _add(hub, name)
    for name in LARGE:
        _add(hub, name, weights=SIZE)
    return hub.add_account("attacker")


def _add(hub: LoopbackHub, name: str, *, weights: int = 1000, **engine: object) -> None:
    files = {
        **servable(),
        "model.safetensors": secrets.token_bytes(weights),
        FILE: behaviour(**engine),
    }
    hub.add_repo(name, files)


def worker(hub: LoopbackHub, directory: Path, keys: tuple[str, ...]) -> Worker:
    """A worker with room for two engines. Unused models expire after 20 s. The rest is
    default."""
    environ = {
        **hub.environment(),
        "ENGINE_PYTHON": str(PYTHON),
        "CUDA_VISIBLE_DEVICES": "",
        "MODEL_NAME": SHARED,
        "MAX_LOADED_MODELS": "2",
        "MODEL_IDLE_TTL": "20",
        "API_KEYS": ",".join(keys),
    }
    return Worker(directory, environ)
