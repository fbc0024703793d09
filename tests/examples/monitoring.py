"""The Prometheus queries of the dashboard and the alerts in `examples/monitoring`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.worker import ROOT

MONITORING = ROOT / "examples" / "monitoring"


def dashboard() -> Any:
    return json.loads((MONITORING / "dashboard.json").read_text())


def panels() -> list[Any]:
    return [one for one in dashboard()["panels"] if one["type"] != "row"]


def alerts() -> list[Any]:
    document = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def expressions() -> Iterator[str]:
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (rule["expr"] for rule in alerts())


def metrics_used() -> set[str]:
    """The metrics' names, as their families are called in a scrape."""
    named = {
        name
        for text in expressions()
        for name in re.findall(r"\b((?:router|process)_\w+)", text)
    }
    return {name.removesuffix("_bucket") for name in named}
