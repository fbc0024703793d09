"""Remove each guard in turn, in a copy of the tree, and see its test fail.

python -m tests.guards [table ...]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.guards.guard import Guard
from tests.guards.tables import tables
from tests.worker import ROOT

_PASSED, _FAILED = 0, 1  # pytest's exit status
_PATIENCE = 180.0  # seconds for one test, with all that it stands on


def main() -> int:
    chosen = sys.argv[1:] or list(tables())
    survived = 0
    print("| table | promise | guard | test | |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        tree = _copy(Path(directory) / "tree")
        for name in chosen:
            for guard in tables()[name]:
                outcome = _try(tree, guard)
                survived += outcome != "caught"
                row = (name, guard.promise, f"`{guard.file}`", f"`{guard.test}`", outcome)
                print(f"| {' | '.join(row)} |", flush=True)
    print(f"\n{survived} guards whose loss would go unnoticed")
    return bool(survived)


def _copy(tree: Path) -> Path:
    """The tree as it is, committed or not, on the environments of the original."""
    shutil.copytree(
        ROOT, tree, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv*", ".*cache")
    )
    for environment in ROOT.glob(".venv*"):
        (tree / environment.name).symlink_to(environment)
    return tree


def _try(tree: Path, guard: Guard) -> str:
    file = tree / guard.file
    whole = file.read_text()
    if _run(tree, guard.test) != _PASSED:
        return "FAILS WITH ITS GUARD"
    file.write_text(whole.replace(guard.guard, guard.mutant))
    try:
        return "caught" if _run(tree, guard.test) == _FAILED else "SURVIVED"
    finally:
        file.write_text(whole)


def _run(tree: Path, test: str) -> int | None:
    """The exit status; None where it took too long: then nothing is known."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", test]
    try:
        ran = subprocess.run(
            pytest, cwd=tree, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        return None
    return ran.returncode


if __name__ == "__main__":
    sys.exit(main())
