"""Reads from the source which room imports which, for the layer tests and the drawing.

A room is a package (`router.scheduler`, `engines`) or a module directly below `router`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def modules() -> list[str]:
    """Dotted names of all modules of the router and the engines."""
    files = [*ROOT.glob("router/**/*.py"), *ROOT.glob("engines/*.py")]
    return sorted(".".join(f.relative_to(ROOT).with_suffix("").parts) for f in files)


def room(module: str) -> str:
    """The room of a module: `router.pool.lease` -> `pool`, `engines.flags` -> `engines`."""
    package, *rest = module.split(".")
    if package != "router":
        return package
    return rest[0] if rest else "__init__"


def imports(module: str) -> set[str]:
    """Everything that a module imports from outside the standard library, fully dotted."""
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    return {name for name in _imported(tree) if name.partition(".")[0] not in _STDLIB}


def is_ours(name: str) -> bool:
    return name.partition(".")[0] in ("router", "engines")


def arrows() -> dict[str, set[str]]:
    """For each room, the other rooms that it imports."""
    found: dict[str, set[str]] = {}
    for module in modules():
        others = found.setdefault(room(module), set())
        others |= {room(name) for name in imports(module) if is_ours(name)}
        others -= {room(module), "__init__"}  # `router` itself contains only its version
    return found


def floors() -> list[list[str]]:
    """The rooms by height: each imports only from lower floors.

    Raises `ValueError` if a cycle makes that impossible.
    """
    left = arrows()
    built: list[list[str]] = []
    below: set[str] = set()
    while left:
        floor = sorted(name for name, others in left.items() if others <= below)
        if not floor:
            raise ValueError(f"the rooms import each other in a circle: {sorted(left)}")
        built.append(floor)
        below |= set(floor)
        left = {name: others for name, others in left.items() if name not in below}
    return built[::-1]


def drawing() -> str:
    """The import graph as Mermaid, the top floor first."""
    graph = arrows()
    lines = ["```mermaid", "flowchart TD"]
    lines += [
        f"  {name} --> {other}"
        for floor in floors()
        for name in floor
        for other in sorted(_direct(graph, name))
    ]
    return "\n".join([*lines, "```"])


_STDLIB = sys.stdlib_module_names


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError("relative imports hide where things come from")
            origin = node.module or ""
            yield from (_module_or(origin, alias.name) for alias in node.names)


def _module_or(package: str, name: str) -> str:
    """`package.name` if that is a module; otherwise `package`, which defines the name."""
    place = ROOT / package.replace(".", "/") / name
    module = place.is_dir() or place.with_suffix(".py").is_file()
    return f"{package}.{name}" if module else package


def _direct(graph: dict[str, set[str]], name: str) -> set[str]:
    """The imported rooms that no other imported room imports: those a drawing needs to show."""
    return {
        other
        for other in graph[name]
        if not any(other in _reached(graph, via) for via in graph[name] - {other})
    }


def _reached(graph: dict[str, set[str]], name: str) -> set[str]:
    found, look = set[str](), [name]
    while look:
        for other in graph[look.pop()] - found:
            found.add(other)
            look.append(other)
    return found
