"""`top`: shows the worker's state as it changes, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from router.commands.operate import status
from router.commands.operate.client import Json, WorkerClient, WorkerUnreached
from router.commands.output import Output


def top(worker: WorkerClient, output: Output, *, as_json: bool) -> None:
    """Without a terminal, print one state per line. Raises `WorkerUnreached` if the worker
    is gone."""
    if as_json:
        _follow(worker, output, output.json_line)
    elif output.is_terminal:
        _on_terminal(worker, output)
    else:
        _follow(worker, output, lambda state: _as_line(output, state))


def _on_terminal(worker: WorkerClient, output: Output) -> None:
    with output.screen() as screen:

        def show(state: Json) -> None:
            screen.lines(status.header(state))
            screen.table(*status.table(state, output.width))
            screen.lines(status.causes(state))
            screen.show()

        _follow(worker, output, show)


def _as_line(output: Output, state: Json) -> None:
    at = time.strftime("%H:%M:%S", time.localtime(state["now"]))
    output.line(f"{at} {status.one_line(state)}")
    output.flush()


def _follow(worker: WorkerClient, output: Output, show: Callable[[Json], None]) -> None:
    """Show each state until the worker leaves. Events end after an hour; then reconnect."""
    while True:
        last: Json | None = None
        for last in _states(worker, output):
            show(last)
        if last is None:
            raise WorkerUnreached(f"{worker.address} sends no state")
        if last["worker"]["leaving"]:
            return


def _states(worker: WorkerClient, output: Output) -> Iterator[Json]:
    with worker.events("/admin/events", output.check_reader) as events:
        for name, content in events:
            if name == "state":
                yield content
