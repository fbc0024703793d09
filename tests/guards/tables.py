"""All tables, in the order of the threat model."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

import tests.guards
from tests.guards.guard import Guard


def tables() -> Mapping[str, tuple[Guard, ...]]:
    """Tables by name: every module here that has `GUARDS`."""
    names = [module.name for module in pkgutil.iter_modules(tests.guards.__path__)]
    modules = {name: importlib.import_module(f"tests.guards.{name}") for name in names}
    return {
        name: module.GUARDS for name, module in modules.items() if hasattr(module, "GUARDS")
    }
