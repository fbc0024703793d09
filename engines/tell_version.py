"""Prints, as a line of JSON, what the engines' interpreter has installed.

The line says whether it has SGLang and which version, whether engines can wait at a gate,
whether they can sleep (torch_memory_saver), and which of the packages in its arguments it
lacks. It does not import SGLang, because that takes seconds and may touch the GPU.
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
    except ImportError:  # raised by the parent package
        return False


def _has_gate() -> bool:
    """Looks for the file, because `find_spec` of a submodule imports its package."""
    spec = importlib.util.find_spec("sglang")
    places = (spec and spec.submodule_search_locations) or ()
    return any(Path(place, _GATE).is_file() for place in places)


def main() -> None:
    found: dict[str, object] = {"sglang": importlib.util.find_spec("sglang") is not None}
    found["gate"] = _has_gate()
    found["memory_saver"] = importlib.util.find_spec("torch_memory_saver") is not None
    try:
        found["version"] = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:  # for example, it is only on PYTHONPATH
        found["version"] = None
    found["lacks"] = [name for name in sys.argv[1:] if not _has(name)]
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
