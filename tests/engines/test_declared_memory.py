from __future__ import annotations

from pathlib import Path

import pytest

from engines.declared_memory import check_declared
from router.config.catalog import OperatorModel
from router.config.errors import SettingsError
from router.downloads.cache_check import snapshot_on_disk
from router.downloads.snapshots import Snapshots
from router.models import ModelRef
from router.repository.files import RemoteFile

WEIGHTS = 3 * 2**20
COMMIT = "c" * 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return filled(tmp_path / "model")


def filled(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text('{"torch_dtype": "float16"}')
    (directory / "model.safetensors").write_bytes(bytes(WEIGHTS))
    return directory


def nowhere(_ref: ModelRef) -> None:
    return None


def test_memory_that_holds_the_weights_is_accepted(directory: Path) -> None:
    check_declared([OperatorModel(source=directory, memory=WEIGHTS)], (), nowhere)
    check_declared([OperatorModel(source=directory)], (), nowhere)


def test_memory_that_does_not_is_refused_with_the_least_that_would(directory: Path) -> None:
    little = OperatorModel(source=directory, memory=WEIGHTS - 1, where="models.yaml:1: entry 1")
    with pytest.raises(
        SettingsError, match=r"^models.yaml:1: entry 1: memory=.*which take 0\.1GiB"
    ):
        check_declared([little], (), nowhere)


def test_gpus_that_share_the_weights_hold_a_part_each(directory: Path) -> None:
    half = OperatorModel(source=directory, memory=WEIGHTS // 2)
    check_declared([half], ("--tp-size=2",), nowhere)
    own = OperatorModel(source=directory, memory=WEIGHTS // 2, flags=("--tp-size", "2"))
    check_declared([own], (), nowhere)


@pytest.mark.parametrize("name", ["org/model", f"org/model@{COMMIT}"])
def test_a_model_in_a_cache_is_checked_and_one_that_is_not_there_is_not(
    name: str, tmp_path: Path
) -> None:
    model = OperatorModel(source=ModelRef.parse(name), memory=1)
    caches = (tmp_path / "empty", tmp_path / "hub")

    def on_disk(ref: ModelRef) -> Path | None:
        return snapshot_on_disk(ref, caches)

    check_declared([model], (), on_disk)
    snapshots = Snapshots(caches[1])
    path = filled(snapshots.path("org/model", COMMIT))
    check_declared([model], (), on_disk)  # it is not known to be complete
    names = ("config.json", "model.safetensors")
    files = [RemoteFile(one, (path / one).stat().st_size, "b") for one in names]
    snapshots.seal("org/model", COMMIT, files)
    snapshots.refs.note("org/model", COMMIT, "main")
    with pytest.raises(SettingsError, match=r"memory=.*more than its weights"):
        check_declared([model], (), on_disk)
