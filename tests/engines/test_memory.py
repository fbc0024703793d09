from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pynvml
import pytest

from engines.memory import HostGauge, NvmlGauge, described, find_gpus, gauge

MIB = 1 << 20
MEMINFO = "MemTotal:        1048576 kB\nMemAvailable:     524288 kB\nHugePages_Total:       0\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with 1 GiB, half of it free."""
    (tmp_path / "cgroup").mkdir()
    write(tmp_path, "meminfo", MEMINFO)
    return tmp_path


def write(machine: Path, name: str, text: str) -> None:
    (machine / name).parent.mkdir(exist_ok=True)
    (machine / name).write_text(text)


def host(machine: Path) -> HostGauge:
    return HostGauge(proc=machine, cgroup=machine / "cgroup")


def test_a_machine_has_what_the_kernel_reports(machine: Path) -> None:
    assert host(machine).total() == 1024 * MIB
    assert host(machine).free() == 512 * MIB


def test_a_container_without_a_limit_has_the_machines_memory(machine: Path) -> None:
    write(machine, "cgroup/memory.max", "max\n")
    assert host(machine).total() == 1024 * MIB
    assert host(machine).free() == 512 * MIB


def test_a_container_has_its_limit_less_what_can_not_be_reclaimed(machine: Path) -> None:
    write(machine, "cgroup/memory.max", str(256 * MIB))
    write(machine, "cgroup/memory.current", str(200 * MIB))
    write(machine, "cgroup/memory.stat", f"anon 1\ninactive_file {100 * MIB}\n")
    assert host(machine).total() == 256 * MIB
    assert host(machine).free() == (256 - 100) * MIB


def test_the_limits_of_cgroup_v1_count_too(machine: Path) -> None:
    write(machine, "cgroup/memory/memory.limit_in_bytes", str(256 * MIB))
    write(machine, "cgroup/memory/memory.usage_in_bytes", str(200 * MIB))
    write(machine, "cgroup/memory/memory.stat", f"total_inactive_file {100 * MIB}\n")
    assert host(machine).free() == 156 * MIB


def test_a_container_above_its_limit_has_nothing_free(machine: Path) -> None:
    write(machine, "cgroup/memory.max", str(100 * MIB))
    write(machine, "cgroup/memory.current", str(101 * MIB))
    assert host(machine).free() == 0


async def test_the_hosts_memory_is_not_waited_for(machine: Path) -> None:
    assert await host(machine).recovered(1024 * MIB) == 1024 * MIB
    assert await host(machine).recovered(256 * MIB) == 512 * MIB


class Filling(NvmlGauge):
    """A GPU with more free memory at each measurement."""

    def __init__(self, *free: int, patience: float, still: float = 10.0) -> None:
        super().__init__((), patience=patience, still=still)
        self._left = list(free)

    def free(self) -> int:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


async def test_a_gpus_memory_is_waited_for() -> None:
    assert await Filling(1, 2, 3, 4, patience=60.0).recovered(3) == 3


async def test_waiting_for_a_gpus_memory_ends() -> None:
    assert await Filling(1, 2, patience=0.0).recovered(3) < 3


async def test_memory_that_comes_free_slowly_is_waited_for_until_it_is_enough() -> None:
    assert await Filling(1, 2, 3, 4, 5, patience=60.0).settled(4) == 4


async def test_memory_that_an_engine_keeps_is_not_waited_for() -> None:
    assert await Filling(1, 2, patience=60.0, still=0.2).settled(9) == 2
    assert await Filling(1, 2, patience=0.2).settled(9) == 2


async def test_a_machine_that_stands_still_measures_no_memory_too_early() -> None:
    class Faltering(Filling):
        def free(self) -> int:
            time.sleep(0.3)
            return super().free()

    assert await Faltering(1, 2, 3, patience=60.0, still=0.2).settled(9) == 3
    assert await Faltering(1, 2, 3, patience=0.2).recovered(3) == 3


async def test_the_hosts_memory_is_as_it_is_measured(machine: Path) -> None:
    assert await host(machine).settled(1024 * MIB) == 512 * MIB


def test_this_machine_can_be_measured() -> None:
    here = gauge(os.environ)
    assert 0 < here.free() <= here.total()


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_hidden_gpu_is_not_used(hidden: str) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": hidden}, 1) == ()


def part_of_a_gpu(name: str) -> int:
    if not name.startswith("MIG-"):
        raise pynvml.NVMLError_NotFound
    return int(name.removeprefix("MIG-"))


class FakeNvml(ModuleType):
    """Four GPUs. The third has less memory, and the fourth is older."""

    def __init__(self) -> None:
        super().__init__("nvml")
        self.nvmlInit = lambda: None
        self.nvmlDeviceGetCount = lambda: 4
        self.nvmlDeviceGetHandleByIndex = lambda index: index
        self.nvmlDeviceGetHandleByUUID = part_of_a_gpu
        self.nvmlDeviceGetUUID = lambda handle: f"GPU-{handle}00{handle}"
        self.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(
            total=(80, 80, 48, 80)[handle], free=(70, 60, 40, 75)[handle]
        )
        capabilities = ((9, 0), (9, 0), (8, 9), (7, 5))
        self.nvmlDeviceGetCudaComputeCapability = lambda handle: capabilities[handle]
        self.nvmlDeviceGetName = lambda handle: ("H200", "H200", "L40", "T4")[handle]
        self.nvmlSystemGetDriverVersion = lambda: "580.1"


@pytest.mark.parametrize(
    ("visible", "most", "expected"),
    [
        (None, 1, (0,)),
        (None, 2, (0, 1)),
        (None, 8, (0, 1, 2, 3)),
        (None, None, (0, 1, 2, 3)),
        ("3, 1", None, (3, 1)),
        ("2", 1, (2,)),
        ("1, GPU-3003", 2, (1, 3)),
        ("GPU-3,MIG-2", None, (3, 2)),
        # CUDA stops at a name of no GPU.
        ("4", None, ()),
        ("NoDevFiles", None, ()),
        ("0,-1", None, (0,)),
        ("0,,1", None, (0,)),
        ("GPU-1,GPU-9,2", None, (1,)),
        ("GPU-,2", None, ()),
        ("\u00b2", None, ()),
    ],
)
def test_the_gpus_of_an_engine_are_the_first_visible_ones(
    visible: str | None, most: int | None, expected: tuple[int, ...]
) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert find_gpus(environ, most, FakeNvml()) == expected


def test_of_several_gpus_the_one_with_the_least_decides() -> None:
    one, three = NvmlGauge((0,), nvml=FakeNvml()), NvmlGauge((0, 1, 2), nvml=FakeNvml())
    assert (one.total(), one.free(), one.capability()) == (80, 70, 90)
    assert (three.total(), three.free(), three.capability()) == (48, 40, 89)


def test_each_of_several_gpus_is_measured_by_itself() -> None:
    each = NvmlGauge((0, 1, 2), nvml=FakeNvml()).each
    assert [one.free() for one in each] == [70, 60, 40]


def test_the_log_says_how_many_gpus_there_are_and_if_one_has_much_less_free() -> None:
    gib = 1 << 30
    alike, unlike = NvmlGauge((0, 1), nvml=FakeNvml()), NvmlGauge((0, 2), nvml=FakeNvml())
    ((_, said),) = described(alike, 70 * gib)
    assert said == "engines run on each of 2 GPUs with 70.0 GiB of memory"
    levels = [level for level, _ in described(unlike, 40 * gib)]
    assert levels == [logging.INFO, logging.WARNING]


def test_kernels_are_for_these_gpus_and_this_driver(machine: Path) -> None:
    assert NvmlGauge((0, 2), nvml=FakeNvml()).kind() == "H200, L40, 89, driver 580.1"
    assert host(machine).kind() == ""


def test_a_driver_that_does_not_tell_the_capability_is_no_reason_not_to_start() -> None:
    def refuse(_: object) -> None:
        raise pynvml.NVMLError_NotSupported

    nvml = FakeNvml()
    nvml.nvmlDeviceGetCudaComputeCapability = refuse  # type: ignore[assignment]
    assert NvmlGauge((0,), nvml=nvml).capability() is None


@pytest.mark.gpu
async def test_a_gpus_memory_is_measured() -> None:
    handles = find_gpus(os.environ, 1)
    if not handles:
        pytest.skip("no NVIDIA GPU")
    gpu = NvmlGauge(handles, patience=0.2)
    assert (gpu.capability() or 0) >= 50
    assert 0 < gpu.free() <= gpu.total()
    assert await gpu.recovered(1) > 0
    assert await gpu.recovered(gpu.total() + 1) <= gpu.total()
