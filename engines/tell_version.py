"""Run by the engines' interpreter: says, as a line of JSON, whether it has SGLang, and which,
whether engines can wait at a gate, whether it has the package that lets them sleep, and what it
lacks of the packages that the arguments name.

Imports nothing of SGLang, which would take seconds and may touch the GPU.
"""

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

_GATE = "srt/distributed/gated_launch.py"  # in SGLang's package


def _has(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:  # of the package around it
        return False


def _has_gate() -> bool:
    """Looks for the file: a module inside a package is found by importing the package."""
    spec = importlib.util.find_spec("sglang")
    places = (spec and spec.submodule_search_locations) or ()
    return any(Path(place, _GATE).is_file() for place in places)


def main() -> None:
    found: dict[str, object] = {"sglang": importlib.util.find_spec("sglang") is not None}
    found["gate"] = _has_gate()
    found["memory_saver"] = importlib.util.find_spec("torch_memory_saver") is not None
    try:
        found["version"] = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:  # it lies on PYTHONPATH, say
        found["version"] = None
    found["lacks"] = [name for name in sys.argv[1:] if not _has(name)]
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
