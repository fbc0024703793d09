"""Hides secrets from other processes of the same user.

`/proc/PID/environ` shows a process's initial environment to every process of the same user, for
as long as the process lives. Engines read untrusted files, so they must not see it. The router
therefore re-executes itself with a few harmless variables and receives the rest through an
in-memory file. It also makes its memory and open files unreadable to processes of the same
user.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

# Names the inherited file descriptor. The file is read once, and then the variable is removed.
HANDED_OVER = "MODEL_ROUTER_ENVIRONMENT"

# Variables that the interpreter and the dynamic loader need before any of our code runs, and
# variables that hold locations. None of these is a secret.
_HARMLESS = frozenset({"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", "HF_HOME"})
_HARMLESS_PREFIXES = ("PYTHON", "LD_", "LC_", "GLIBC_", "MALLOC_")

_PR_SET_DUMPABLE = 4


def hide_environment() -> None:
    """Re-execute this process with an initial environment without secrets.

    `os.environ` is complete afterwards. Call this before anything else: the process keeps its
    pid and arguments but starts again from the beginning. The second call (in the new process)
    restores `os.environ` and hides the memory. Raises `OSError`.
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

    This does not stop root with CAP_SYS_PTRACE. Raises `OSError`.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def _start_anew(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    file = os.memfd_create("environment", 0)  # flags 0: the descriptor survives exec
    # JSON preserves bytes that are not valid UTF-8, as surrogate escapes.
    os.write(file, json.dumps(dict(environ)).encode())
    os.lseek(file, 0, os.SEEK_SET)
    few = {name: value for name, value in environ.items() if _is_harmless(name, value)}
    environment = few | {HANDED_OVER: str(file)}
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - it executes itself


def _is_harmless(name: str, value: str) -> bool:
    if name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES):
        return True
    # The path of an existing file is no secret, and code that runs at interpreter startup may
    # need it.
    return value.startswith("/") and os.path.exists(value)  # noqa: PTH110 - returns False for a path that is too long
