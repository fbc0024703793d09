"""`doctor`: what prevents a machine from being a worker, and how to fix it."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from engines.memory import HostGauge
from router.commands.doctor import machine_lines
from router.commands.doctor.hub_lines import answer_lines, clock_line
from router.commands.doctor.line import ExamLine, Grade
from router.commands.doctor.settings_lines import read_settings, runpod_lines
from router.config.platform import Platform
from router.config.settings import Settings
from router.http.open_files import NEEDED
from router.hub.account import HubAnswers
from tests.commands.harness import Ended, Operator

GIB = 1 << 30


def states(ended: Ended) -> dict[str, tuple[str, str]]:
    return {one["about"]: (one["state"], one["finding"]) for one in ended.json["checks"]}


@pytest.mark.process
def test_a_machine_that_is_ready_has_no_problem(operator: Operator) -> None:
    token = operator.hub.add_account("ann")
    done = operator.run("doctor", "--json", HF_TOKEN=token)
    assert done.code == 0, done.all
    assert done.json["healthy"]
    found = states(done)
    assert found["HF_TOKEN"] == ("ok", "of the account ann")
    assert found["Hub"][0] == found["cache"][0] == found["clock"][0] == "ok"
    assert "SGLang" in found
    assert token not in done.all


@pytest.mark.process
def test_what_is_wrong_is_told_with_what_to_do(operator: Operator) -> None:
    token = operator.hub.add_account("ann")
    operator.hub.expire(token)
    blocked = f"{operator.file('file', '')}/hub"
    done = operator.run(
        "doctor",
        HF_TOKEN=token,
        HF_HUB_CACHE=blocked,
        ENGINE_PYTHON="/not/there",
        HF_TOKN=token,
    )
    assert done.code == 1
    for topic, says in (
        ("HF_TOKEN", "the Hub refuses it"),
        ("cache", f"{blocked} can't be written: Not a directory"),
        ("SGLang", "there is no such file"),
    ):
        assert any(
            line.startswith(topic) and " problem " in line and says in line
            for line in done.out.splitlines()
        ), done.out
    assert "HF_TOKN is not a setting, and is ignored: did you mean HF_TOKEN?" in done.out
    assert token not in done.all


@pytest.mark.process
def test_a_hub_that_can_not_be_reached_or_trusted_is_told(operator: Operator) -> None:
    with socket.socket() as silent:  # it keeps the port, and does not listen
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        gone = operator.run("doctor", "--json", HF_ENDPOINT=f"http://127.0.0.1:{port}")
    assert gone.code == 1
    assert "can't be reached: no connection" in states(gone)["Hub"][1]
    untrusted = operator.run("doctor", "--json", SSL_CERT_FILE="")
    assert untrusted.code == 1
    assert "its certificate is not trusted here" in states(untrusted)["Hub"][1]
    offline = operator.run("doctor", "--json", HF_HUB_OFFLINE="1")
    assert states(offline)["Hub"] == ("ok", "not asked: HF_HUB_OFFLINE")


def test_settings_that_can_not_be_used_are_a_problem() -> None:
    configuration, [line] = read_settings({"PORT": "none"})
    assert configuration is None
    assert line.grade is Grade.PROBLEM
    assert "PORT='none'" in line.text


@pytest.mark.parametrize(
    ("answers", "with_token", "health"),
    [
        (HubAnswers(401, None), False, Grade.OK),
        (HubAnswers(401, None), True, Grade.PROBLEM),
        (HubAnswers(429, None), True, Grade.WARNING),
        (HubAnswers(200, None, "ann"), True, Grade.OK),
        (HubAnswers(200, None, "ann", may_write=True), True, Grade.WARNING),
        (HubAnswers(503, None), True, Grade.PROBLEM),
    ],
)
def test_what_the_hub_says_of_a_token(
    answers: HubAnswers, with_token: bool, health: Grade
) -> None:
    *_, last = answer_lines("https://hub", answers, with_token=with_token)
    assert last.grade is health
    assert bool(last.remedy) == (health is not Grade.OK)


def test_a_clock_that_is_off_is_told_with_its_direction() -> None:
    assert clock_line(3.0).grade is Grade.OK
    assert clock_line(-600.0).grade is Grade.WARNING
    assert clock_line(-600.0).text == "600 s behind the Hub's"
    assert clock_line(600.0).text == "600 s ahead of the Hub's"


def test_too_few_open_files_are_told() -> None:
    assert machine_lines.open_files_line(1024, NEEDED).grade is Grade.OK
    few = machine_lines.open_files_line(1024, 4096)
    assert few.grade is Grade.WARNING
    assert "2,048 connections" in few.text


def test_shared_memory_matters_to_engines_of_several_gpus() -> None:
    assert machine_lines.shared_memory_line(64 << 20, 1).grade is Grade.OK
    assert machine_lines.shared_memory_line(64 << 20, 2).grade is Grade.WARNING
    assert machine_lines.shared_memory_line(None, 2).grade is Grade.WARNING
    assert machine_lines.shared_memory_line(16 * GIB, 2).grade is Grade.OK


def test_a_container_with_little_memory_is_told(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 67108864 kB\nMemAvailable: 60000000 kB\n")
    cgroup = tmp_path / "cgroup"
    cgroup.mkdir()
    assert machine_lines.host_memory_line(HostGauge(tmp_path, cgroup)).grade is Grade.OK
    (cgroup / "memory.max").write_text(str(4 * GIB))
    (cgroup / "memory.current").write_text(str(GIB))
    line = machine_lines.host_memory_line(HostGauge(tmp_path, cgroup))
    assert line.grade is Grade.WARNING
    assert "of 4.0 GiB" in line.text


def test_a_worker_of_runpod_without_a_volume_is_told() -> None:
    settings = Settings.from_environ({"BASE_PATH": "/not/there"})
    assert machine_lines.volume_line(settings, Platform.PLAIN).grade is Grade.OK
    assert machine_lines.volume_line(settings, Platform.QUEUE).grade is Grade.WARNING


def test_runpods_variables_are_named_without_their_values() -> None:
    key = "rpa_" + "x" * 20
    environ = {
        "RUNPOD_POD_ID": "pod",
        "RUNPOD_WEBHOOK_GET_JOB": "https://job",
        "RUNPOD_API_KEY": key,
    }
    [line] = runpod_lines(environ)
    assert "RUNPOD_API_KEY" in line.text
    assert key not in line.text
    *_, last = runpod_lines({**environ, "RUNPOD_API_KEY": ""})
    assert last.grade is Grade.WARNING


class Driver:
    """NVML with two GPUs. The second one is half full."""

    def __init__(self, version: str = "580.65", *, broken: bool = False) -> None:
        self._version, self._broken = version, broken

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's names
        if self._broken:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return self._version

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return "NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(total=140 * GIB, free=(140 - 70 * handle) * GIB)

    def nvmlDeviceGetCudaComputeCapability(self, handle: int) -> tuple[int, int]:  # noqa: N802
        return 9, 0


def gpus(driver: Any, environ: dict[str, str] | None = None) -> dict[str, ExamLine]:
    return {line.topic: line for line in machine_lines.gpu_lines(environ or {}, driver)}


def test_each_gpu_is_told_with_what_is_free() -> None:
    found = gpus(Driver())
    assert found["driver"].grade is found["GPU 0"].grade is Grade.OK
    assert (
        "NVIDIA H200, compute capability 9.0, 140.0 GiB of 140.0 GiB free"
        in found["GPU 0"].text
    )
    assert found["GPU 1"].grade is Grade.WARNING


def test_an_old_a_broken_and_a_missing_driver_differ() -> None:
    assert gpus(Driver("535.1"))["driver"].grade is Grade.WARNING
    assert gpus(Driver(broken=True))["GPU"].grade is Grade.PROBLEM
    assert gpus(Driver(), {"CUDA_VISIBLE_DEVICES": ""})["GPU"].grade is Grade.WARNING


def test_where_spans_go_is_told_and_what_is_missing_for_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    password = "a" * 12
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"https://me:{password}@collector:4318"}

    def line() -> ExamLine:
        return next(one for one in read_settings(environ)[1] if one.topic == "spans")

    assert line() == ExamLine(
        "spans", Grade.OK, "of requests are sent to https://collector:4318/v1/traces"
    )
    monkeypatch.setattr("router.traces.collector._is_installed", lambda: False)
    missing = line()
    assert missing.grade is Grade.PROBLEM
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in missing.text
    assert password not in missing.text
