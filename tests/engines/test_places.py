from __future__ import annotations

from pathlib import Path

import pytest

from engines.places import check_places
from router.config.catalog import OperatorModel
from router.config.errors import SettingsError


def refused(*own: str, flags: tuple[str, ...] = (), visible: int = 4) -> str:
    place = "models.yaml:1: entry 1 (mine)"
    model = OperatorModel(source=Path("/models/mine"), flags=own, where=place)
    try:
        check_places([model], flags, lambda: visible)
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "own",
    [
        ("--tp-size=4",),
        ("--base-gpu-id", "3"),
        ("--base-gpu-id=2", "--tp", "2"),
        ("--tp-size=2", "--pp-size=2"),
        ("--dp-size=2", "--tp-size=2"),
        ("--dp-size=4", "--tp-size=4", "--enable-dp-attention"),
        ("--tp-size=8", "--nnodes=2", "--node-rank=0"),
    ],
)
def test_flags_may_choose_among_the_visible_gpus(own: tuple[str, ...]) -> None:
    assert refused(*own) == ""


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        (("--tp-size=8",), "8 GPUs from number 0"),
        (("--base-gpu-id=4",), "1 GPUs from number 4"),
        (("--base-gpu-id=3", "--tp-size=2"), "2 GPUs from number 3"),
        (("--dp-size=4", "--tp-size=2"), "8 GPUs from number 0"),
    ],
)
def test_flags_that_ask_for_gpus_which_are_not_there_are_refused(
    own: tuple[str, ...], asked: str
) -> None:
    said = refused(*own)
    assert "models.yaml:1: entry 1 (mine): flags=" in said
    assert asked in said
    assert "4 that this worker sees" in said


def test_the_flags_of_all_engines_are_looked_at_too() -> None:
    assert "the engines' flags" in refused(flags=("--tp-size=8",))


def test_gpus_that_do_not_follow_each_other_are_refused() -> None:
    assert "CUDA_VISIBLE_DEVICES" in refused("--tp-size=2", "--gpu-id-step=2")


def test_without_a_gpu_nothing_is_refused() -> None:
    assert refused("--tp-size=8", visible=0) == ""


def test_the_gpus_are_counted_only_where_a_flag_chooses_among_them() -> None:
    def count() -> int:
        raise AssertionError

    check_places([], ("--context-length=8192",), count)
