"""Imports point inward. This lists what each room may import."""

from __future__ import annotations

import ast
from collections import Counter

import pytest

from tests.import_graph import ROOT, arrows, drawing, floors, imports, is_ours, modules, room

# Every room may import these. `config` is text turned into values; `redaction` hides secrets.
BASE = {"models", "errors", "secrets", "clock", "tasks", "local_paths", "feed", "outbox"}

# Rooms, or single modules of a room ("pool.interfaces").
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "tasks": set(),
    "feed": set(),
    "outbox": set(),
    "side_process": {"errors", "tasks"},
    "side_process_child": {"concealment", "errors"},
    "pid1": set(),
    "concealment": set(),
    "local_paths": set(),
    "models": {"errors"},
    "secrets": {"errors"},
    "told": set(),
    "redaction": {"secrets", "told"},
    "logs": {"redaction", "secrets", "told"},
    "config": BASE | {"redaction"},
    "scheduler": {"models", "errors"},
    "pool": BASE | {"scheduler"},
    "hub": BASE | {"repository", "side_process"},
    "access": BASE | {"config", "hub.interfaces"},
    "repository": {"models", "errors"},
    "downloads": BASE
    | {"concealment", "hub.errors", "hub.interfaces", "hub.origin", "pool.interfaces"}
    | {"side_process", "repository"},
    "engines": BASE
    | {"config", "logs", "pool.interfaces", "redaction", "repository", "scheduler.actions"}
    | {"side_process"},
    "requests": BASE
    | {"config", "logs", "redaction", "told", "access", "pool", "scheduler", "side_process"},
    "admin": BASE | {"config", "downloads.disk", "pool", "requests", "scheduler"},
    "traces": BASE | {"config.errors", "pool.loading", "requests", "router"},
    "running": {"config", "pool", "requests"},
    "openapi": {"errors", "requests", "router"},  # `router` contains the version
    "http": BASE | {"access", "config", "openapi", "requests", "side_process"},
    "runpod": BASE | {"config", "requests"},
    "fleet": set(),
    "ray": BASE | {"access", "config", "fleet", "requests", "scheduler", "side_process"},
    "simulation": {"models", "errors", "scheduler", "fleet"},
}
FREE = {
    "app",
    "cli",
    "commands",
    "__main__",
    "__init__",
    "router",
}  # they assemble everything

# A single worker does not import these, so they cost it nothing.
NOT_OF_A_WORKER = {"fleet", "ray", "simulation"}

# Third-party packages, and the only modules or rooms that may import them.
KNOWN_BY = {
    "aiohttp": {"engines"},
    "runpod": {"runpod.worker"},
    "huggingface_hub": {"hub", "downloads"},
    "pynvml": {"engines"},
    "yaml": {"config"},
    "pydantic": {"config"},
    "rich": {"commands"},
    "prometheus_client": {"admin"},
    "cachetools": {"hub", "http", "access"},
    "httptools": {"http", "requests"},
    "opentelemetry": {"traces"},
    "requests": {"traces"},
    "ray": {"ray", "app.fleet", "commands.ray"},
}
NEVER = {"torch", "sglang", "transformers", "tests", "examples"}


def within(name: str, allowed: set[str]) -> bool:
    short = name.removeprefix("router.")
    return any(short == one or short.startswith(one + ".") for one in allowed)


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_what_its_room_may_know(module: str) -> None:
    here = room(module)
    if here in FREE:
        return
    ours = {name for name in imports(module) if is_ours(name) and room(name) != here}
    strangers = {name for name in ours if not within(name, MAY_IMPORT[here])}
    assert not strangers, f"{module} must not know {strangers}"


@pytest.mark.parametrize("module", modules())
def test_a_package_from_elsewhere_is_known_where_it_is_wrapped(module: str) -> None:
    for name in imports(module):
        package = name.partition(".")[0]
        assert package not in NEVER, f"{module} must not import {name}"
        if (room(module) not in FREE or package == "ray") and package in KNOWN_BY:
            assert within(module, KNOWN_BY[package]), f"{module} must not import {name}"


def test_no_rooms_import_each_other_in_a_circle() -> None:
    assert floors()[-1]


def test_the_drawing_of_the_rooms_is_the_one_in_the_readme() -> None:
    assert drawing() in (ROOT / "router/README.md").read_text(), "run `make docs`"


def test_only_the_command_line_and_the_composition_root_know_engines() -> None:
    assert {name for name, others in arrows().items() if "engines" in others} <= FREE


def test_a_single_worker_imports_nothing_of_a_fleet() -> None:
    look = ["router.commands.serve", "router.cli", "router.__main__"]
    reached: set[str] = set()
    while look:
        module = look.pop()
        # `run` imports other commands only when they are chosen.
        if module not in reached and module != "router.commands.run":
            reached.add(module)
            look += [name for name in imports(module) if name in set(modules())]
    assert {"app", "http", "runpod", "engines", "scheduler"} <= {room(one) for one in reached}
    assert not {one for one in reached if room(one) in NOT_OF_A_WORKER}


def test_no_two_classes_share_a_name() -> None:
    names = Counter(
        node.name
        for module in modules()
        for node in ast.walk(ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert not {name for name, count in names.items() if count > 1}
