"""`ps`: shows which models are loaded, which wait and for what, and which fail."""

from __future__ import annotations

from router.commands.operate import status
from router.commands.operate.client import WorkerClient, WrongUse
from router.commands.output import Output


def ps(worker: WorkerClient, output: Output, *, as_json: bool) -> None:
    state = worker.get("/admin/state")
    if as_json:
        output.json(state)
        return
    if "replicas" in state:
        raise WrongUse(
            f"{worker.address} is an ingress of a fleet, whose workers `ps` can't show: "
            "`ps --json` writes the state of each"
        )
    for line in status.header(state):
        output.line(line.text, line.style)
    if not state["engines"]:
        output.line("No model is loaded or waited for.")
        return
    output.line()
    output.table(*status.table(state, output.width))
    below = list(status.causes(state))
    if below:
        output.line()
    for text in below:
        output.line(text)
