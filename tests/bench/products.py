"""The measured products, and how to start each in front of the two upstreams."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import nginx
from tests.bench.engine import PYTHON, STREAMS
from tests.bench.processes import Program, free_port
from tests.worker import ROOT

WHOLE, STREAMING = "bench/model", f"bench/{STREAMS}"  # the models named by callers
BENCH_PYTHON = ROOT / ".venv-bench/bin/python"
API_KEY = "a-key-of-the-benchmark"


@dataclass(frozen=True, slots=True)
class Product:
    """`build` makes the program for one upstream (host and port), in its own directory.

    `quick`: it can serve many callers at once.
    """

    name: str
    build: Callable[[str, Path], Program]
    quick: bool = True


def products() -> list[Product]:
    """The products installed here. Prints a line for each missing one."""
    found = [Product("aiohttp pass-through", _pass_through), Product("socket splice", _splice)]
    if nginx.find() is not None:
        found.append(Product("nginx", _nginx))
    else:
        print("nginx is not installed: skipped (apt-get install nginx-light)")
    if BENCH_PYTHON.exists():
        found.append(Product("sglang-router", _sglang_router))
        found.append(Product("LiteLLM", _litellm, quick=False))
    else:
        print("no .venv-bench: sglang-router and LiteLLM are skipped (`make bench` makes it)")
    return found


def engine(model: str, directory: Path) -> Program:
    """An upstream without a key."""
    port = free_port()
    asked = ["-m", "sglang.launch_server", "--model-path", model, "--port", str(port)]
    directory.mkdir()
    environ = {"TMPDIR": str(directory)}
    return Program([str(PYTHON), *asked], environ, ROOT, port, "/model_info")


def router(
    checkout: Path, directory: Path, hub: Mapping[str, str], models: str = ""
) -> Program:
    """A checkout's worker, with limits, keys and the access log. `models`: MODELS_CONFIG."""
    directory.mkdir()
    port = free_port()
    environ = {
        **hub,
        "HOME": str(directory),
        "TMPDIR": str(directory),
        "HF_HOME": str(directory / "hf"),
        "BAKED_MODELS": str(directory / "models"),
        "BASE_PATH": str(directory / "volume"),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DRAIN_TIMEOUT": "1",
        "ENGINE_PYTHON": str(PYTHON),
        "MAX_LOADED_MODELS": "2",
        "MAX_CONCURRENCY": "2048",
        "API_KEYS": API_KEY,
        "PYTHONHASHSEED": "0",  # otherwise two starts of the same code differ
        **({"MODELS_CONFIG": models} if models else {}),
    }
    command = [sys.executable, "-m", "router", "serve"]
    return Program(command, environ, checkout, port, "/ping", tree=False)


def _pass_through(upstream: str, _: Path) -> Program:
    return _python("pass_through", upstream)


def _splice(upstream: str, _: Path) -> Program:
    return _python("splice", upstream)


def _python(module: str, upstream: str) -> Program:
    port = free_port()
    command = [sys.executable, "-m", f"tests.bench.{module}", str(port), upstream]
    return Program(command, {}, ROOT, port, "/")


def _nginx(upstream: str, directory: Path) -> Program:
    port = free_port()
    return Program(nginx.proxy(directory, port, upstream), {}, directory, port, "/")


def _sglang_router(upstream: str, directory: Path) -> Program:
    port = free_port()
    directory.mkdir(exist_ok=True)
    asked = ["--worker-urls", f"http://{upstream}", "--host", "127.0.0.1", "--port", str(port)]
    further = ["--policy", "round_robin", "--prometheus-port", str(free_port())]
    limits = ["--max-concurrent-requests", "4096", "--log-level", "warn"]
    command = [str(BENCH_PYTHON), "-m", "sglang_router.launch_router"]
    return Program(
        [*command, *asked, *further, *limits],
        {"HOME": str(directory)},
        directory,
        port,
        "/readiness",
    )


def _litellm(upstream: str, directory: Path) -> Program:
    port = free_port()
    directory.mkdir(exist_ok=True)
    config = directory / "litellm.json"  # JSON is YAML
    parameters = {"api_base": f"http://{upstream}/v1", "api_key": "unused"}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}", **parameters}}
        for name in (WHOLE, STREAMING)
    ]
    config.write_text(json.dumps({"model_list": models}))
    asked = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "HOME": str(directory),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it downloads it
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # does not check keys
    }
    command = [str(BENCH_PYTHON.with_name("litellm")), "--telemetry", "False", *asked]
    return Program(command, environ, directory, port, "/health/liveliness")
