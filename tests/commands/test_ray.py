"""`model-router ray up` without Ray; `tests/e2e_ray` tests the rest."""

from __future__ import annotations

import importlib.util
import socket
from types import ModuleType

import pynvml
import pytest

from router.cli import main
from router.commands.ray import (
    as_they_are,
    closed_place,
    gpus_for,
    private,
    ray_up,
    taken_port,
    too_few_gpus,
)
from router.config.settings import Settings


class Driver(ModuleType):
    """The driver of a machine with so many GPUs; None: a broken driver."""

    def __init__(self, gpus: int | None) -> None:
        super().__init__("nvml")
        self._gpus = gpus

    def nvmlInit(self) -> None:  # noqa: N802 - NVML's
        if self._gpus is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNKNOWN)

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._gpus or 0

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index


@pytest.mark.parametrize(
    "options",
    [
        ["--replicas", "0"],
        ["--replicas", "-1"],
        ["--gpus", "-1"],
        ["--gpus", "1.5"],
        ["--gpus", "nan"],
        ["--gpus", "inf"],
        ["--gpus", "0.001"],
    ],
)
def test_a_number_that_makes_no_sense_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["ray", "up", *options])
    assert ended.value.code == 2
    assert "it must be a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("replicas", "gpus", "need"),
    [(2, 0, 0), (3, 1, 3), (2, 2, 4), (2, 0.5, 1), (3, 0.5, 2), (3, 0.6, 3), (10, 0.1, 1)],
)
def test_replicas_share_a_gpu_and_none_is_on_two(replicas: int, gpus: float, need: int) -> None:
    assert gpus_for(replicas, gpus) == need


def test_more_gpus_than_there_are_are_told_before_ray_believes_in_them() -> None:
    assert not too_few_gpus(3, 1, {}, Driver(3))
    assert "take 4; this machine has 3" in too_few_gpus(4, 1, {}, Driver(3))
    assert "this machine has 1" in too_few_gpus(2, 1, {"CUDA_VISIBLE_DEVICES": "0"}, Driver(2))
    assert "--gpus 0" in too_few_gpus(1, 1, {}, Driver(0))
    assert "broken" in too_few_gpus(1, 1, {}, Driver(None))
    assert not too_few_gpus(2, 0, {}, Driver(None)), "nobody asks for a GPU"


def test_a_port_in_use_is_told_before_ray_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        settings = Settings.from_environ({"HOST": "127.0.0.1", "PORT": str(port)})
        assert "does another worker run? Set PORT" in taken_port(settings)
    assert not taken_port(settings)


def test_each_line_of_the_log_is_shown_and_json_is_nothing_else() -> None:
    text = as_they_are(Settings.from_environ({}), colors=False)
    assert (text["RAY_DEDUP_LOGS"], text["RAY_DISABLE_WORKER_LOG_PREFIX"]) == ("0", "0")
    json = as_they_are(Settings.from_environ({"LOG_FORMAT": "json"}), colors=False)
    assert json["RAY_DISABLE_WORKER_LOG_PREFIX"] == "1"


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed here")
def test_without_ray_it_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert ray_up(1, 1.0, {}) == 2
    assert "pip install '.[ray]'" in capsys.readouterr().err


def test_rays_directory_is_closed_to_other_users_and_removed() -> None:
    with closed_place() as place:
        place.mkdir(mode=0o777)
        assert place.parent.stat().st_mode & 0o077 == 0
    assert not place.parent.exists()


def test_rays_ports_ask_for_a_token_that_is_new_each_time() -> None:
    one, other = private({}), private({})
    assert one["RAY_AUTH_MODE"] == "token"
    assert len(one["RAY_AUTH_TOKEN"]) >= 32
    assert one["RAY_AUTH_TOKEN"] != other["RAY_AUTH_TOKEN"]
    assert one["RAY_USAGE_STATS_ENABLED"] == "0"
