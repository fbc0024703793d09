"""Runs `make gpu` with the fake engine and a pretended GPU."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path

import pytest

from engines.command import Device
from engines.launcher import SglangLauncher
from tests.fake_engine import FILE, PYTHON, behaviour
from tests.fake_engine.device import PretendedGpu
from tests.gpu.measure import Measurement, table
from tests.gpu.models import GIB, make
from tests.pool.fakes import FakeGauge


@pytest.mark.process
async def test_every_figure_is_taken_and_shown(tmp_path: Path) -> None:
    (notes := tmp_path / "device").mkdir()
    (model := tmp_path / "model").mkdir()
    (model / FILE).write_bytes(
        behaviour(device=str(notes), memory=20 * GIB, kept_asleep=GIB, release_takes=0.2)
    )
    launcher = SglangLauncher(
        python=str(PYTHON),
        environ={"PATH": "/usr/bin:/bin"},
        hf_token=None,
        start_timeout=90.0,
        device=Device.CPU,
    )
    gpu = PretendedGpu(notes)
    found = await Measurement(launcher, gpu, FakeGauge(), model).take()
    assert gpu.free() == gpu.total()
    assert found.same_answers
    assert found.sleep >= 0.2
    shown = table([found, found])
    assert shown.splitlines()[0] == "|  | 0.0 GiB | 0.0 GiB |"
    assert "| same answers | yes | yes |" in shown


def test_a_model_has_the_size_that_was_asked_for_and_weights_for_each_tensor(
    tmp_path: Path,
) -> None:
    model = make(tmp_path, "model", GIB // 2)
    with (model / "model.safetensors").open("rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    del header["__metadata__"]
    size = (model / "model.safetensors").stat().st_size - 8 - length
    assert size == sum(prod(one["shape"]) * 2 for one in header.values())
    assert 0.3 * GIB < size < 0.7 * GIB
    config = json.loads((model / "config.json").read_text())
    assert f"model.layers.{config['num_hidden_layers'] - 1}.mlp.up_proj.weight" in header
