"""Runs the chosen command.

It imports only the chosen command, because others may need slow packages.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Mapping, MutableMapping
from io import TextIOWrapper
from types import MappingProxyType

from router.commands.output import OutputLost, kept
from router.config import options
from router.config.settings import SETTINGS
from router.redaction import redact

_UNUSABLE = 2
_UNWRITTEN = 2
_INTERRUPTED = 130  # what shells report for Ctrl-C


def run(chosen: argparse.Namespace) -> int:
    """Run the chosen command; return its exit status."""
    _leave_no_core()
    _forget_empty(os.environ)
    if isinstance(sys.stdout, TextIOWrapper):
        # A model may have a name, and print lines, that a Latin-1 output can't encode.
        sys.stdout.reconfigure(errors="backslashreplace")
    if chosen.command not in _WITHOUT_HUB and not _hub_client_loads():
        return _UNUSABLE
    try:
        status = _COMMANDS.get(chosen.command, _serve)(chosen, os.environ)
        if sys.stdout is not None:  # `>&-`
            with kept():
                sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        _write_no_more()
        return 0
    except OutputLost as lost:
        print(lost, file=sys.stderr)  # noqa: T201
        _write_no_more()
        return _UNWRITTEN
    except KeyboardInterrupt:  # a worker that has begun to serve drains instead
        return _INTERRUPTED
    return status


def _write_no_more() -> None:
    """Discard the rest of the output: at exit, Python would try to write it again and fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _serve(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.serve import serve  # noqa: PLC0415

    environ.update(options.given(chosen))
    return serve(environ, queue=_takes_jobs(chosen.command, environ))


def _check(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.check.command import check_command  # noqa: PLC0415

    return check_command(chosen, environ)


def _doctor(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.doctor.command import doctor  # noqa: PLC0415

    return doctor(chosen, environ)


def _cache(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.cache.command import cache_command  # noqa: PLC0415

    return cache_command(chosen, environ)


def _operate(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.operate.command import operate  # noqa: PLC0415

    return operate(chosen, environ)


def _prefetch(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.prefetch import prefetch_command  # noqa: PLC0415

    return prefetch_command(chosen.name, chosen.into, chosen.token_file, environ)


def _replay(chosen: argparse.Namespace, _: MutableMapping[str, str]) -> int:
    from router.commands.replay import replay  # noqa: PLC0415

    return replay(chosen.journal)


def _plan(chosen: argparse.Namespace, _: MutableMapping[str, str]) -> int:
    from router.commands.plan.command import plan_command  # noqa: PLC0415

    return plan_command(chosen)


def _ray(chosen: argparse.Namespace, environ: MutableMapping[str, str]) -> int:
    from router.commands.ray import ray_up  # noqa: PLC0415

    return ray_up(chosen.replicas, chosen.gpus, environ)


def _demo(chosen: argparse.Namespace, _: MutableMapping[str, str]) -> int:
    from router.commands.demo import demo  # noqa: PLC0415

    return demo(keep=chosen.keep)


_OPERATING = ("ps", "top", "load", "unload", "pin", "unpin", "logs", "reload", "drain")
_WITHOUT_HUB = frozenset({*_OPERATING, "replay", "plan"})
_COMMANDS = MappingProxyType(
    {
        "check": _check,
        "doctor": _doctor,
        "cache": _cache,
        **dict.fromkeys(_OPERATING, _operate),
        "prefetch": _prefetch,
        "replay": _replay,
        "plan": _plan,
        "ray": _ray,
        "demo": _demo,
    }
)


def _hub_client_loads() -> bool:
    """Whether `huggingface_hub` can be imported: it reads its variables then, and some of their
    values make it fail."""
    try:
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined] # noqa: F401, PLC0415 - slow
    except ValueError as error:
        said = f"A variable of huggingface_hub, such as HF_ENDPOINT, can't be used: {error}"
        print(redact(said), file=sys.stderr)  # noqa: T201
        return False
    return True


def _takes_jobs(command: str | None, environ: Mapping[str, str]) -> bool:
    if command is None:
        return bool(environ.get("RUNPOD_WEBHOOK_GET_JOB"))
    return command == "runpod"


def _leave_no_core() -> None:
    """Turn off core dumps, for children too, because memory holds tokens.

    The hard limit stays, so that you can raise the soft limit to debug a crash.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _forget_empty(environ: MutableMapping[str, str]) -> None:
    """Unset empty variables, because libraries read them too.

    A deployment from the RunPod Hub listing sets every variable, and OpenSSL takes an empty
    SSL_CERT_FILE to mean no authorities at all.
    """
    for name in (name for one in SETTINGS.values() for name in one.names):
        if environ.get(name) == "":
            del environ[name]
