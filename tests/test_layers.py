"""Imports point inward. What a layer may know is listed here, and nothing else."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STDLIB = sys.stdlib_module_names

# By the longest prefix. An entry names packages and modules of this project, and others
# by their top level.
MAY_IMPORT = {
    "router.core": {"router.core", "router.errors"},
    "router.errors": set[str](),
    "router.service": {
        *("router.admission", "router.catalogue", "router.core", "router.errors"),
        *("router.exchange", "router.openai", "router.parts", "router.settings"),
        "router.tokens",
    },
    "router.exchange": {
        *("router.core", "router.envelope", "router.errors", "router.openai", "router.parts"),
    },
    "router.transports": {
        *("router.envelope", "router.errors", "router.openai", "router.parts"),
        *("router.service", "router.transports", "aiohttp", "orjson", "runpod"),
    },
    "engines": {
        *("engines", "router.core.models", "router.core.ports"),
        *("aiohttp", "pynvml"),
    },
}
NOT_IN_THE_ROUTER = {"torch", "sglang", "transformers", "tests"}


def modules() -> list[str]:
    files = [*ROOT.glob("router/**/*.py"), *ROOT.glob("engines/*.py")]
    return sorted(".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files)


def imports(module: str) -> set[str]:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where things come from"
            origin = node.module or ""
            package = (ROOT / origin.replace(".", "/")).is_dir()
            found |= {f"{origin}.{a.name}" if package else origin for a in node.names}
    return {name for name in found if name.partition(".")[0] not in STDLIB}


def within(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in allowed)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_inward_only(module: str) -> None:
    layers = [layer for layer in MAY_IMPORT if within(module, {layer})]
    if layers:
        allowed = MAY_IMPORT[max(layers, key=len)]
        strangers = {name for name in imports(module) if not within(name, allowed)}
        assert not strangers, f"{module} must not know {strangers}"


@pytest.mark.parametrize("module", modules())
def test_the_router_never_imports_the_engines_libraries(module: str) -> None:
    assert not {name for name in imports(module) if within(name, NOT_IN_THE_ROUTER)}


def test_only_the_composition_root_and_the_commands_import_engines_or_adapters() -> None:
    adapters = {"engines", "router.hub", "router.download", "router.relay", "router.transports"}
    knowing = {
        module
        for module in modules()
        if not within(module, adapters)
        and {name for name in imports(module) if within(name, adapters)}
    }
    assert knowing == {"router.__main__", "router.worker"}
