"""Remove each guard in turn, in a copy of the tree, and see its test fail.

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
_RAYS = ".venv-ray/bin/python"  # a single worker's environment has no Ray
_PATIENCE = 180.0  # seconds for one test, with everything that it starts


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
        Path(directory).chmod(0o755)  # workers and engines of other users run from there
        trees = [_copy(Path(directory) / str(n)) for n in range(arguments.j)]
        for (name, guard), outcome in zip(entries, _outcomes(trees, entries), strict=True):
            survived += outcome != "caught"
            row = (name, guard.promise, f"`{guard.place}`", f"`{guard.test}`", outcome)
            print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{survived} of {len(entries)} guards could be lost unnoticed")
    return bool(survived)


def _copy(tree: Path) -> Path:
    """The tree as it is, committed or not, on the environments of the original."""
    shutil.copytree(
        ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv*", ".*cache")
    )
    for environment in ROOT.glob(".venv*"):
        (tree / environment.name).symlink_to(environment)
    return tree


def _outcomes(trees: Sequence[Path], entries: Sequence[tuple[str, Guard]]) -> Iterator[str]:
    """In the order of the entries, as they come."""
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
    """Python takes a file of the same second and size for the one that it has compiled."""
    file.write_text(source)
    Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)


def _run(tree: Path, test: str) -> int | None:
    """The exit status; None where it took too long: then nothing is known."""
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
