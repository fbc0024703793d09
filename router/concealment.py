"""Keeps secrets out of what other processes can read of this one.

`/proc/PID/environ` shows the environment that a process started with, for as long as it lives,
to every process of the same user. Engines read strangers' files. So the router starts itself
anew with few harmless variables, and gets the rest over a file that exists in memory alone. And
it lets no process of the same user read its memory or its open files.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

# Names the inherited file. Its content is read once, and the variable is removed.
HANDED_OVER = "MODEL_ROUTER_ENVIRONMENT"

# What the interpreter and the dynamic loader need before any of our code runs, and where things
# are. None of these is a secret.
_HARMLESS = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "HF_HOME"})
_HARMLESS_PREFIXES = ("PYTHON", "LD_", "LC_", "GLIBC_", "MALLOC_")

_PR_SET_DUMPABLE = 4


def hide_environment() -> None:
    """Return in a process whose first environment holds no secret; `os.environ` is whole.

    Call it before anything else: it starts this process anew, with the same pid and arguments.
    Then, or at once if it was called before, it hides the memory too. Raises `OSError`.
    """
    if HANDED_OVER not in os.environ:
        _start_anew(sys.orig_argv[1:], os.environ)
    file = int(os.environ.pop(HANDED_OVER))
    with os.fdopen(file, "rb") as stream:
        given: dict[str, str] = json.load(stream)
    os.environ.update(given)
    hide_memory()


def hide_memory() -> None:
    """Make `/proc/PID/mem`, `environ`, `fd` and the like unreadable, and forbid tracing.

    Root with CAP_SYS_PTRACE is not stopped by that. Raises `OSError`.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def _start_anew(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    file = os.memfd_create("environment", 0)  # inherited
    # As JSON, in which any byte that is no UTF-8 stays what it was.
    os.write(file, json.dumps(dict(environ)).encode())
    os.lseek(file, 0, os.SEEK_SET)
    few = {name: value for name, value in environ.items() if _is_harmless(name, value)}
    environment = few | {HANDED_OVER: str(file)}
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - itself


def _is_harmless(name: str, value: str) -> bool:
    if name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES):
        return True
    # A file of this machine is no secret, and what runs at an interpreter's start may need it.
    return value.startswith("/") and os.path.exists(value)  # noqa: PTH110 - False if too long
