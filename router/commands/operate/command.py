"""The commands that operate a running worker: `ps`, `top`, `load`, `drain` and others."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

from router.commands.operate.client import (
    RefusedByWorker,
    WorkerClient,
    WorkerUnreached,
    WrongUse,
    url_of,
)
from router.commands.operate.deeds import deed, drain, reload
from router.commands.operate.logs import logs
from router.commands.operate.ps import ps
from router.commands.operate.top import top
from router.commands.output import Output, printable


def operate(chosen: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Return the exit status.

    0: done; 1: the worker refused it, or it failed; 2: wrong use, or no worker answers.
    """
    output = Output()
    try:
        address = url_of(chosen.url, environ)
        worker = WorkerClient(address, environ.get("ADMIN_API_KEY") or "")
        _run(chosen, worker, output)
        output.flush()
    except (WrongUse, WorkerUnreached) as error:
        print(printable(str(error)), file=sys.stderr)  # noqa: T201
        return 2
    except RefusedByWorker as refused:
        if chosen.json:
            output.json(refused.answer)
        for line in str(refused).splitlines():
            print(printable(line), file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:  # how `top` and `logs -f` end
        if chosen.command not in ("top", "logs"):
            raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as flaw:
        said = f"the server at {address} is not a worker of this version: {flaw!r}"
        print(printable(said), file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _run(chosen: argparse.Namespace, worker: WorkerClient, output: Output) -> None:
    as_json: bool = chosen.json
    match chosen.command:
        case "ps":
            ps(worker, output, as_json=as_json)
        case "top":
            top(worker, output, as_json=as_json)
        case "logs":
            logs(worker, output, chosen.model, follow=chosen.follow, as_json=as_json)
        case "reload":
            reload(worker, output, as_json=as_json)
        case "drain":
            drain(worker, output, wait=chosen.wait, as_json=as_json)
        case verb:
            wait = verb == "load" and chosen.wait
            deed(worker, output, verb, chosen.model, wait=wait, as_json=as_json)
