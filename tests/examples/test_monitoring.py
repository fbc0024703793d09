"""The dashboard and the alerts use metrics that the worker has, and Prometheus accepts them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from router.config.settings import SETTINGS
from tests.examples.monitoring import MONITORING, alerts, dashboard, expressions, panels
from tests.worker import ROOT

TESTS = Path(__file__).with_name("alerts_test.yaml")
PATIENCE = 120  # seconds

# Labels added by Prometheus, and labels of histograms.
_ADDED = {"job", "instance", "le", "alertname"}


def documented() -> dict[str, set[str]]:
    """The labels of each metric."""
    table = (ROOT / "docs/observability.md").read_text().partition("| metric |")[2]
    found = {}
    for line in table.splitlines():
        if line.startswith("| `router_"):
            _, names, labels, *_ = line.split("|")
            for name in re.findall(r"`(\w+)`", names):
                found[name] = set(re.findall(r"`(\w+)`", labels))
    return found


def test_the_labels_that_are_asked_for_are_those_of_the_metric() -> None:
    known = documented()
    selectors = [
        found for text in expressions() for found in re.findall(r"(router_\w+)\{(.*?)\}", text)
    ]
    assert len(selectors) > 30
    for metric, matchers in selectors:
        asked = set(re.findall(r"(\w+)=?[=!]~?", matchers))
        assert asked - _ADDED <= known[metric.removesuffix("_bucket")], metric


def test_the_panels_have_places_of_their_own_and_all_ask_the_chosen_prometheus() -> None:
    everything = dashboard()["panels"]
    assert len({one["id"] for one in everything}) == len(everything) > 20
    places = [one["gridPos"] for one in everything]
    assert all(one["x"] + one["w"] <= 24 for one in places)
    for a, b in combinations(places, 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert beside or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (a, b)
    sources = {target["datasource"]["uid"] for one in panels() for target in one["targets"]}
    assert sources == {"${datasource}"}
    variables = {one["name"] for one in dashboard()["templating"]["list"]}
    used = {name for text in expressions() for name in re.findall(r"\$(\w+)", text)}
    assert used - {"__rate_interval", "labels", "value"} <= variables


def test_each_alert_is_tested_and_says_what_to_do() -> None:
    tested = TESTS.read_text()
    for rule in alerts():
        name = rule["alert"]
        assert re.search(rf"\b{name}\b", tested), name
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_the_compose_file_sets_variables_and_mounts_files_that_exist() -> None:
    document = yaml.safe_load((MONITORING / "compose.yaml").read_text())
    assert document["services"]["worker"]["environment"].keys() <= SETTINGS.keys()
    files = [one["file"] for one in document["configs"].values() if "file" in one]
    assert len(files) == 3
    assert all((ROOT / "examples" / file).is_file() for file in files)
    (key,) = document["secrets"].values()
    assert key["file"].rpartition("/")[2] in (ROOT / ".gitignore").read_text()


@pytest.fixture(scope="module")
def promtool(tmp_path_factory: pytest.TempPathFactory) -> str:
    """This machine's promtool; otherwise the one in Debian's package, unpacked but not
    installed."""
    if (found := shutil.which("promtool")) is not None:
        return found
    folder = tmp_path_factory.mktemp("prometheus")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("there is no promtool (Debian: apt-get install prometheus)")
    command = "apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb ."
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Debian's package prometheus can't be had: {done.stderr[-200:]}")
    return str(folder / "usr/bin/promtool")


def checked(promtool: str, folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [promtool, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
def test_prometheus_takes_the_configuration_and_the_rules(
    promtool: str, tmp_path: Path
) -> None:
    for name in ("prometheus.yml", "alerts.yaml"):
        shutil.copy(MONITORING / name, tmp_path)
    (tmp_path / "model-router.key").write_text("key")
    checked(promtool, tmp_path, "check", "config", "prometheus.yml")


@pytest.mark.process
def test_each_alert_goes_off_when_it_should_and_not_before(
    promtool: str, tmp_path: Path
) -> None:
    for file in (MONITORING / "alerts.yaml", TESTS):
        shutil.copy(file, tmp_path)
    checked(promtool, tmp_path, "test", "rules", TESTS.name)


@pytest.mark.process
def test_prometheus_understands_what_the_dashboard_asks(promtool: str, tmp_path: Path) -> None:
    asked = [target["expr"] for panel in panels() for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "1m")}
        for number, text in enumerate(asked)
    ]
    document = {"groups": [{"name": "panels", "rules": rules}]}
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump(document))
    checked(promtool, tmp_path, "check", "rules", "panels.yaml")
