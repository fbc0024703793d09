"""Run by the engines' interpreter: says, as a line of JSON, whether it has SGLang, and which,
and whether it has the package that lets engines sleep.

Imports nothing of SGLang, which would take seconds and may touch the GPU.
"""

import importlib.metadata
import importlib.util
import json


def main() -> None:
    found: dict[str, object] = {"sglang": importlib.util.find_spec("sglang") is not None}
    found["memory_saver"] = importlib.util.find_spec("torch_memory_saver") is not None
    try:
        found["version"] = importlib.metadata.version("sglang")
    except importlib.metadata.PackageNotFoundError:  # it lies on PYTHONPATH, say
        found["version"] = None
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
