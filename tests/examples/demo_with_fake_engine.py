"""The demo with the fake engine: `python -m tests.examples.demo_with_fake_engine JSON`.

The argument maps a model's name to the options of its fake engine (`Behaviour`).
"""

from __future__ import annotations

import json
import sys
from typing import Any

from examples.demo import show
from examples.demo.accounts import MODELS, Model
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.servable import servable


def show_with_fake_engine(*, keep: bool = False, **engines: dict[str, Any]) -> int:
    files = {model.name: _files(model, engines.get(model.name, {})) for model in MODELS}
    return show(files, PYTHON, keep=keep)


def _files(model: Model, engine: dict[str, Any]) -> dict[str, bytes]:
    return {
        **servable(),
        "model.safetensors": model.name.encode() * 1000,
        FILE: behaviour(**{"answer": model.says} | engine),
    }


if __name__ == "__main__":
    keep, engines = "--keep" in sys.argv, json.loads(sys.argv[1])
    sys.exit(show_with_fake_engine(keep=keep, **engines))
