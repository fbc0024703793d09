"""`doctor`: is this machine ready for a worker?"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping

from engines.memory import HostGauge
from router.commands.doctor import machine_lines
from router.commands.doctor.hub_lines import hub_lines
from router.commands.doctor.line import ExamLine, Grade
from router.commands.doctor.settings_lines import read_settings, runpod_lines
from router.commands.output import Cell, Output, Row

_STYLES = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.PROBLEM: "bold red"}


def doctor(chosen: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Return the exit status: 1 if there is a problem, else 0."""
    lines = list(_examine(environ))
    healthy = all(line.grade is not Grade.PROBLEM for line in lines)
    output = Output()
    if chosen.json:
        output.json({"healthy": healthy, "checks": [_as_json(line) for line in lines]})
    else:
        output.table(("about", "state", "finding, and what to do"), list(_rows(lines)))
    return 0 if healthy else 1


def _examine(environ: Mapping[str, str]) -> Iterator[ExamLine]:
    configuration, lines = read_settings(environ)
    yield from lines
    yield from runpod_lines(environ)
    yield from machine_lines.gpu_lines(environ)
    if configuration is not None:
        settings = configuration.settings
        yield from machine_lines.engine_lines(settings, environ)
        yield from machine_lines.disk_lines(settings)
        yield machine_lines.volume_line(settings, settings.platform)
        yield from hub_lines(settings)
    gpus = 1 if configuration is None else configuration.gpus
    yield machine_lines.open_files_line(*machine_lines.limits())
    yield machine_lines.shared_memory_line(machine_lines.shared_memory(), gpus)
    yield machine_lines.host_memory_line(HostGauge())


def _rows(lines: Iterable[ExamLine]) -> Iterator[Row]:
    """The remedy has a row of its own, because one row would be too wide."""
    for line in lines:
        yield line.topic, Cell(line.grade, _STYLES[line.grade]), line.text
        if line.remedy:
            yield "", "", f"-> {line.remedy}"


def _as_json(line: ExamLine) -> dict[str, str]:
    return {
        "about": line.topic,
        "state": str(line.grade),
        "finding": line.text,
        "remedy": line.remedy,
    }
