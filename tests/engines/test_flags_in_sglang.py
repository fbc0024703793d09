"""Checks the flags with the real SGLang's parser, which takes seconds to import."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engines.command import CPU_MODULES, Device, argv, cache_size
from engines.engine_port import EnginePort
from engines.flags import GONE_VALUES, RESERVED, flags
from router.models import EngineSpec, ResolvedModel, Task
from router.repository.engine_flags import engine_flags
from router.scheduler.actions import Allotment
from router.secrets import Secret
from tests.config.test_listing import INPUTS
from tests.engines.test_flags import EXAMPLES, SWITCHES, VALUES

pytestmark = pytest.mark.sglang

SGLANG_PYTHON = Path(__file__).parents[2] / ".venv-sglang/bin/python"

PARSE = """
import argparse, contextlib, io, json, sys
from sglang.srt.server_args import ServerArgs
parser = argparse.ArgumentParser()
ServerArgs.add_cli_args(parser)
def verdict(line):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parser.parse_args(["--model-path", "m", *line])
    except SystemExit:
        return said.getvalue().splitlines()[-1]
for lines in sys.stdin:
    print("verdicts", json.dumps([verdict(line) for line in json.loads(lines)]), flush=True)
"""


class SglangsParser:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._said = process.stdin, process.stdout

    def verdicts(self, lines: Sequence[tuple[str, ...]]) -> list[str | None]:
        """The parser's errors for each command line."""
        print(json.dumps(lines), file=self._asked, flush=True)
        for line in self._said:  # its import may print other things
            if line.startswith("verdicts "):
                verdicts: list[str | None] = json.loads(line.removeprefix("verdicts "))
                return verdicts
        raise EOFError


@pytest.fixture(scope="module")
def sglang() -> Iterator[SglangsParser]:
    with subprocess.Popen(
        [SGLANG_PYTHON, "-c", PARSE],
        env={"PYTHONPATH": str(CPU_MODULES), "SGLANG_USE_CPU_ENGINE": "1", "PATH": "/usr/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        yield SglangsParser(process)


LLAMA = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 8192}
ROBERTA = {"architectures": ["XLMRobertaModel"], "max_position_embeddings": 514}


def test_sglang_knows_every_flag_that_the_worker_can_emit(sglang: SglangsParser) -> None:
    assert set(EXAMPLES) == set(VALUES)
    asked = [{name: value} for name, value in EXAMPLES.items()]
    asked += [{name: "true"} for name in SWITCHES]
    lines = [flags(environ) for environ in asked]
    gib = 1 << 30
    shared = Allotment(claim=gib, free=2 * gib, whole=False)
    lines += [
        argv(
            EngineSpec(ResolvedModel("org/name", "0" * 40, task)),
            Path("/snapshot"),
            EnginePort(1, Secret("key of the port"), (7, 8)),
            replace(shared, smaller=True, devices=(2, 3), tensor=2),
            python="python3",
            device=device,
            own=engine_flags(config, task, cache=cache_size(device)),
        )[4:]
        for device in Device
        for task in Task
        for config in (LLAMA, ROBERTA)
    ]
    lines.append(("--gated-launch-port", "1", "--max-total-tokens", "5"))
    verdicts = sglang.verdicts(lines)
    assert [(l, v) for l, v in zip(lines, verdicts, strict=True) if v is not None] == []  # noqa: E741


def test_sglang_refuses_what_is_said_to_be_gone_and_knows_what_is_reserved(
    sglang: SglangsParser,
) -> None:
    gone = [(f"{VALUES[name].words[0]}={value}",) for name, value in GONE_VALUES]
    gone.append(("--enable-flashinfer-mla",))
    switches = {
        *("--is-embedding", "--enable-http2", "--enable-http-worker-reuseport", "--grpc-mode"),
        *("--smg-grpc-mode", "--encoder-only", "--use-ray", "--enable-ssl-refresh"),
    }
    reserved = [(name,) if name in switches else (name, "1") for name in sorted(RESERVED)]
    verdicts = sglang.verdicts([*gone, *reserved])
    assert None not in verdicts[: len(gone)]
    assert verdicts[len(gone) :] == [None] * len(reserved)


def test_sglang_knows_every_option(sglang: SglangsParser) -> None:
    offered = [
        flags({name: option["value"]})
        for name in VALUES
        for option in INPUTS[name].get("options", [])
        if option["value"]
    ]
    verdicts = zip(offered, sglang.verdicts(offered), strict=True)
    assert [(line, verdict) for line, verdict in verdicts if verdict is not None] == []
