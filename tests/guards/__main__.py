"""Remove each guard in turn, in a copy of the tree, and check that its test fails.

python -m tests.guards [-j 2] [table ...]
"""

from __future__ import annotations

import argparse
import importlib.util
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.guards.guard import Guard
from tests.guards.tables import tables
from tests.worker import ROOT

_PASSED, _FAILED = 0, 1  # pytest's exit status
_RAYS = ".venv-ray/bin/python"  # the environment of a single worker has no Ray
_PATIENCE = 180.0  # seconds for one test, including all processes it starts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("-j", type=int, default=1, help="guards at a time, a copy for each")
    parser.add_argument("table", nargs="*", help="default: all")
    arguments = parser.parse_args()
    entries = [
        (name, guard) for name in arguments.table or tables() for guard in tables()[name]
    ]
    survived = 0
    print("| table | promise | guard | test | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)  # workers and engines run from there as other users
        trees = [_copy(Path(directory) / str(n)) for n in range(arguments.j)]
        for (name, guard), outcome in zip(entries, _outcomes(trees, entries), strict=True):
            survived += outcome != "caught"
            row = (name, guard.promise, f"`{guard.place}`", f"`{guard.test}`", outcome)
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{survived} of {len(entries)} guards could be lost unnoticed")
    return bool(survived)


def _copy(tree: Path) -> Path:
    """Copy the tree, including uncommitted changes. The copy uses the original's
    environments."""
    shutil.copytree(
        ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv*", ".*cache")
    )
    for environment in ROOT.glob(".venv*"):
        (tree / environment.name).symlink_to(environment)
    return tree


def _outcomes(trees: Sequence[Path], entries: Sequence[tuple[str, Guard]]) -> Iterator[str]:
    """Yield each outcome when it is known, in the order of the entries."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def try_one(entry: tuple[str, Guard]) -> str:
        tree = free.get()
        try:
            return _try(tree, entry[1])
        finally:
            free.put(tree)

    with ThreadPoolExecutor(len(trees)) as pool:
        yield from pool.map(try_one, entries)


def _try(tree: Path, guard: Guard) -> str:
    file = tree / guard.file
    whole = file.read_text()
    if _run(tree, guard.test) != _PASSED:
        return "FAILS WITH ITS GUARD"
    _write(file, guard.mutant(tree))
    try:
        status = _run(tree, guard.test)
    finally:
        _write(file, whole)
    outcomes = {_FAILED: "caught", _PASSED: "SURVIVED", None: "NO VERDICT IN TIME"}
    return outcomes.get(status, f"NO VERDICT: pytest's exit status is {status}")


def _write(file: Path, source: str) -> None:
    """Write the source. Python would reuse compiled code if time and size were the same."""
    file.write_text(source)
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def _run(tree: Path, test: str) -> int | None:
    """Run the test and return its exit status; None if it took too long: the result is
    unknown."""
    python = str(tree / _RAYS) if test.startswith("tests/e2e_ray/") else sys.executable
    pytest = [python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        ran = subprocess.run(
            pytest, cwd=tree, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return None
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
