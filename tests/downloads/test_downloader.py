"""Downloads by the real client, in real child processes, from a Hub on loopback."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from router.downloads.downloader import SnapshotDownloader
from router.downloads.errors import download_error
from router.downloads.places import Places
from router.downloads.snapshots import Snapshots
from router.errors import (
    HfTokenScope,
    HubUnavailable,
    InsufficientDisk,
    InvalidHfToken,
    ModelDisabled,
    ModelGated,
    ModelNotFound,
    ModelTooLarge,
    RevisionNotFound,
    RouterError,
    StorageFailed,
    UnsupportedModel,
)
from router.hub.errors import HubRequest
from router.models import Access, ResolvedModel
from router.pool.interfaces import FetchProgress, Snapshot
from router.secrets import Token
from router.side_process import SideProcessDied, SideProcesses
from tests.changing import below
from tests.doubles import FakeAside
from tests.downloads.fetcher import STALL_TIMEOUT, download_processes
from tests.eventually import eventually
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.process

SMALL = {"config.json": b"{}", "model.safetensors": b"x" * 1000, "README.md": b"hello"}
LARGE = {"config.json": b"{}", "model.safetensors": bytes(6_000_000)}  # several chunks
CDN_WEIGHTS = r"/cdn/.*/model\.safetensors"


@pytest.fixture
def hub() -> Iterator[LoopbackHub]:
    with LoopbackHub() as hub:
        yield hub


@dataclass
class Site:
    """A downloader, its cache, and the progress that it reported."""

    hub: LoopbackHub
    cache: Path
    progress: list[FetchProgress] = field(default_factory=list)
    free: int = 10**12

    def downloader(self, **options: object) -> SnapshotDownloader:
        environment = {**self.hub.patient_environment(), "PATH": os.environ["PATH"]}
        return SnapshotDownloader(
            self.cache,
            environment,
            free=lambda _: self.free,
            **{"stall_timeout": STALL_TIMEOUT} | options,  # type: ignore[arg-type]
        )

    async def fetch(
        self, model: ResolvedModel, token: Token | None = None, **options: object
    ) -> Path:
        found = await self.downloader(**options).fetch(model, token, self.progress.append)
        return found.path

    def model(
        self, name: str, files: dict[str, bytes], access: Access = Access.PUBLIC
    ) -> ResolvedModel:
        commit = self.hub.add_repo(
            name,
            files,
            private=access is Access.PRIVATE,
            gated="manual" if access is Access.GATED else False,
        )
        return ResolvedModel(name, commit, access=access)

    def partials(self) -> list[Path]:
        return below(self.cache, "*.incomplete")

    def files(self) -> set[str]:
        """The files in the cache, except locks and tags."""
        return {
            str(path.relative_to(self.cache))
            for folder in ("models--*", "router-manifests")
            for top in self.cache.glob(folder)
            for path in below(top)
            if path.is_file() or path.is_symlink()
        }


@pytest.fixture
def site(hub: LoopbackHub, tmp_path: Path) -> Site:
    return Site(hub, tmp_path / "hub")


def account(hub: LoopbackHub, name: str) -> Token:
    return Token(hub.add_account(name))


async def downloading(site: Site) -> psutil.Process:
    """Wait until bytes arrive. Returns the child that writes them."""
    await eventually(lambda: any(one.done > 10_000 for one in site.progress))
    (child,) = download_processes()
    return child


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_snapshot_is_fetched_with_what_the_engine_needs(site: Site) -> None:
    model = site.model("org/model", SMALL)
    path = await site.fetch(model)
    assert {file.name for file in path.iterdir()} == {"config.json", "model.safetensors"}
    assert (path / "model.safetensors").read_bytes() == b"x" * 1000
    assert site.progress[0].total == 1002
    assert not download_processes()


async def test_what_is_on_disk_is_returned_without_a_child_or_the_hub(site: Site) -> None:
    model = site.model("org/model", SMALL)
    first = await site.fetch(model)
    asked = len(site.hub.requests)
    assert await site.fetch(model) == first
    assert len(site.hub.requests) == asked


async def test_a_member_fetches_a_private_model(site: Site) -> None:
    model = site.model("ann/model", SMALL, Access.PRIVATE)
    assert (await site.fetch(model, account(site.hub, "ann"))).is_dir()


async def test_only_the_request_to_the_child_holds_the_token(site: Site) -> None:
    model = site.model("ann/model", LARGE, Access.PRIVATE)
    token = account(site.hub, "ann")
    fetching = asyncio.create_task(site.fetch(model, token))
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    child = await downloading(site)
    assert token.reveal() not in " ".join(child.cmdline())
    assert token.reveal() not in str(child.environ())
    site.hub.faults.clear()
    await fetching
    for path in below(site.cache.parent):
        assert not path.is_file() or token.reveal().encode() not in path.read_bytes()


async def test_the_child_gets_an_environment_of_its_own(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "hang", times=None)
    environment = {
        **site.hub.patient_environment(),
        "HF_TOKEN": "hf_" + secrets.token_hex(16),
        "RUNPOD_API_KEY": secrets.token_hex(16),
    }
    downloader = SnapshotDownloader(site.cache, environment)
    fetching = asyncio.create_task(downloader.fetch(model, None, site.progress.append))
    await eventually(lambda: site.progress)
    (child,) = download_processes()
    assert not {"HF_TOKEN", "RUNPOD_API_KEY"} & set(child.environ())
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)


async def test_progress_rises_to_the_total(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=1)
    fetching = asyncio.create_task(site.fetch(model))
    await downloading(site)
    site.hub.faults.clear()
    await fetching
    done = [one.done for one in site.progress]
    assert done == sorted(done)
    assert {one.total for one in site.progress} == {6_000_002}
    assert any(2 < value < 6_000_002 for value in done)


async def test_the_small_files_are_there_before_the_weights_come(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "hang", times=None)
    fetching = asyncio.create_task(site.fetch(model))
    await eventually(lambda: any(each.described for each in site.progress))
    described = site.progress[-1].described
    assert described is not None
    assert (described.path / "config.json").read_bytes() == b"{}"
    assert not (described.path / "model.safetensors").exists()
    site.hub.faults.clear()
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    site.hub.faults.clear()
    assert await site.fetch(model) == described.path


async def test_a_damaged_file_is_fetched_again(site: Site) -> None:
    model = site.model("org/model", SMALL)
    path = await site.fetch(model)
    (path / "model.safetensors").write_bytes(b"short")
    (path / "config.json").unlink()
    assert await site.fetch(model) == path
    assert (path / "model.safetensors").read_bytes() == b"x" * 1000
    assert (path / "config.json").exists()


async def test_whole_files_without_a_manifest_are_not_a_snapshot_but_are_not_fetched_twice(
    site: Site,
) -> None:
    model = site.model("org/model", SMALL)
    await site.fetch(model)
    (manifest,) = site.cache.glob("router-manifests/*/*.json")
    manifest.unlink()
    del site.hub.requests[:]
    site.progress.clear()
    await site.fetch(model)
    assert site.progress[0] == FetchProgress(1002, 1002)
    assert not any(request.path.startswith("/cdn") for request in site.hub.requests)


async def test_two_calls_for_one_snapshot_make_one_download(site: Site) -> None:
    model = site.model("org/model", LARGE)
    downloader = site.downloader()
    progress: list[FetchProgress] = []
    paths = await asyncio.gather(
        downloader.fetch(model, None, site.progress.append),
        downloader.fetch(model, account(site.hub, "ann"), progress.append),
    )
    assert paths[0] == paths[1]
    assert progress == site.progress
    assert [request.account for request in site.hub.requests if "/cdn" in request.path] == [
        None
    ]


async def test_the_next_call_uses_its_own_token_after_the_first_was_refused(site: Site) -> None:
    model = site.model("org/model", SMALL, Access.GATED)
    site.hub.accept("org/model", "ann")
    downloader = site.downloader()
    first, second = await asyncio.gather(
        downloader.fetch(model, account(site.hub, "bob"), site.progress.append),
        downloader.fetch(model, account(site.hub, "ann"), site.progress.append),
        return_exceptions=True,
    )
    assert isinstance(first, ModelGated)
    assert isinstance(second, Snapshot)


def _expired(hub: LoopbackHub) -> Token:
    token = account(hub, "ann")
    hub.expire(token.reveal())
    return token


def _scoped(hub: LoopbackHub) -> Token:
    hub.accept("org/model", "ann")
    token = account(hub, "ann")
    hub.restrict(token.reveal())
    return token


@pytest.mark.parametrize(
    ("access", "token", "error"),
    [
        (Access.GATED, lambda _: None, ModelGated),
        (Access.GATED, lambda hub: account(hub, "bob"), ModelGated),
        (Access.GATED, _scoped, HfTokenScope),
        (Access.PRIVATE, lambda _: None, ModelNotFound),
        (Access.PRIVATE, lambda hub: account(hub, "bob"), ModelNotFound),
        (Access.PUBLIC, _expired, InvalidHfToken),
    ],
)
async def test_a_refusal_says_why(
    site: Site,
    access: Access,
    token: Callable[[LoopbackHub], Token | None],
    error: type[RouterError],
) -> None:
    model = site.model("org/model", SMALL, access)
    with pytest.raises(error):
        await site.fetch(model, token(site.hub))
    assert not {name for name in site.files() if "/trees/" not in name}


async def test_a_disabled_model_and_a_missing_commit_are_reported(site: Site) -> None:
    model = site.model("org/model", SMALL)
    with pytest.raises(RevisionNotFound):
        await site.fetch(ResolvedModel("org/model", "0" * 40))
    site.hub.disable("org/model")
    with pytest.raises(ModelDisabled):
        await site.fetch(model)


async def test_access_withdrawn_during_a_download_is_reported(site: Site) -> None:
    model = site.model("org/model", SMALL, Access.GATED)
    site.hub.accept("org/model", "ann")
    token = account(site.hub, "ann")
    site.hub.faults.add(r"/org/model/resolve/.*/model\.safetensors", "hang", times=None)
    fetching = asyncio.create_task(site.fetch(model, token))
    await eventually(
        lambda: any("model.safetensors" in request.path for request in site.hub.requests)
    )
    site.hub.withdraw("org/model", "ann")
    site.hub.faults.clear()
    with pytest.raises(ModelGated):
        await fetching


async def test_a_model_without_safetensors_is_unsupported(site: Site) -> None:
    files = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    model = site.model("org/model", files)
    with pytest.raises(UnsupportedModel, match=r"\.bin"):
        await site.fetch(model)
    path = await site.fetch(model, allow_unsafe_weights=True)
    assert (path / "pytorch_model.bin").exists()


async def test_an_adapter_is_refused_before_its_weights(site: Site) -> None:
    adapter = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    files = {
        "config.json": b"{}",
        "adapter_config.json": json.dumps(adapter).encode(),
        "adapter_model.safetensors": b"x" * 1000,
    }
    with pytest.raises(UnsupportedModel, match="base model, org/base, or"):
        await site.fetch(site.model("org/adapter", files))
    assert not any("safetensors" in request.path for request in site.hub.requests)
    assert not site.files()


async def test_an_adapter_with_further_weights_is_refused_before_them(site: Site) -> None:
    adapter = {"base_model_name_or_path": "org/base", "peft_type": "LORA"}
    files = {
        "config.json": b'{"num_hidden_layers": 64, "hidden_size": 1024}',
        "adapter_config.json": json.dumps(adapter).encode(),
        "adapter_model.safetensors": b"x" * 1000,
        "projector.safetensors": b"x" * 2000,
    }
    with pytest.raises(UnsupportedModel, match="base model, org/base, or"):
        await site.fetch(site.model("org/adapter", files))
    assert not any("safetensors" in request.path for request in site.hub.requests)
    assert not site.files()


async def test_an_embedder_that_sglang_gets_wrong_is_refused_before_its_weights(
    site: Site,
) -> None:
    files = {
        "config.json": b'{"architectures": ["BertModel"]}',
        "modules.json": b'[{"type": "a.Pooling", "path": "1_Pooling"}, {"type": "a.Dense"}]',
        "1_Pooling/config.json": b'{"pooling_mode_cls_token": true}',
        "model.safetensors": b"x" * 1000,
    }
    with pytest.raises(UnsupportedModel, match="Dense"):
        await site.fetch(site.model("org/embedder", files))
    assert not any("safetensors" in request.path for request in site.hub.requests)


async def test_the_index_decides_what_is_fetched_and_counts(site: Site) -> None:
    index = json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}).encode()
    files = {
        "config.json": b"{}",
        "model.safetensors.index.json": index,
        "model-00001-of-00001.safetensors": b"x" * 1000,
        "model.fp32-00001-of-00001.safetensors": b"x" * 9000,
        "checkpoint-1/model.safetensors": b"x" * 9000,
        "training_config.json": b'{"data_path": "/data"}',
    }
    model, size = site.model("org/model", files), 1002 + len(index)
    with pytest.raises(ModelTooLarge, match=f"{size:,} bytes"):
        await site.fetch(model, max_model_bytes=size - 1)
    assert not any(request.path.endswith(".safetensors") for request in site.hub.requests)
    snapshot = await site.fetch(model, max_model_bytes=size)
    assert {file.name for file in snapshot.iterdir()} == {
        *("config.json", "model.safetensors.index.json", "model-00001-of-00001.safetensors")
    }


async def test_an_index_that_names_a_missing_file_costs_no_weights(site: Site) -> None:
    index = json.dumps({"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}).encode()
    files = {"config.json": b"{}", "model.safetensors.index.json": index}
    with pytest.raises(UnsupportedModel, match=r"names b\.safetensors"):
        await site.fetch(site.model("org/model", files | {"a.safetensors": b"x" * 1000}))
    assert not site.files()


async def test_an_oddly_named_module_comes_with_its_configuration(site: Site) -> None:
    files = {
        "config.json": b"{}",
        "modules.json": b'[{"path": ""}, {"path": "dense"}]',
        "dense/config.json": b'{"in_features": 5}',
        "dense/model.safetensors": b"x" * 100,
        "model.safetensors": b"x" * 1000,
    }
    snapshot = await site.fetch(site.model("org/model", files))
    assert {str(each.relative_to(snapshot)) for each in snapshot.rglob("*.*")} == files.keys()


async def test_a_snapshot_with_more_files_than_would_be_fetched_today_stays(site: Site) -> None:
    model = site.model("org/model", SMALL)
    snapshot = await site.fetch(model)
    (snapshot / "checkpoint-1").mkdir()
    more = {"checkpoint-1/model.safetensors": b"x" * 5, "training_config.json": b"[1]"}
    for name, content in more.items():
        (snapshot / name).write_bytes(content)
    manifest = Snapshots(site.cache).manifest(model.repo_id, model.commit)
    sizes = json.loads(manifest.read_bytes()) | {name: len(more[name]) for name in more}
    manifest.write_text(json.dumps(sizes))
    asked = len(site.hub.requests)
    assert await site.fetch(model) == snapshot
    assert len(site.hub.requests) == asked


async def test_pickles_that_were_allowed_once_are_not_found_any_more(site: Site) -> None:
    files = {
        "config.json": b"{}",
        "modules.json": b'[{"path": "2_Dense"}]',
        "2_Dense/model.safetensors": b"x",
        "pytorch_model.bin": b"pickle",
    }
    model = site.model("org/model", files)
    await site.fetch(model, allow_unsafe_weights=True)
    with pytest.raises(UnsupportedModel, match=r"\.bin"):
        await site.fetch(model)


async def test_a_model_over_the_limit_is_refused_before_a_byte(site: Site) -> None:
    model = site.model("org/model", SMALL)
    with pytest.raises(ModelTooLarge, match="1,002 bytes"):
        await site.fetch(model, max_model_bytes=1001)
    assert not any("/resolve/" in request.path for request in site.hub.requests)


async def test_a_full_disk_is_noticed_before_a_byte(site: Site) -> None:
    site.free = 1000
    model = site.model("org/model", SMALL)
    with pytest.raises(InsufficientDisk, match="2 bytes are missing"):
        await site.fetch(model)
    assert not any("/resolve/" in request.path for request in site.hub.requests)


async def test_two_downloads_share_the_disk(site: Site) -> None:
    site.free = 1500
    one, other = site.model("org/one", SMALL), site.model("org/other", SMALL)
    site.hub.faults.add(r"/org/one/resolve/.*", "hang", times=None)
    downloader = site.downloader()
    first = asyncio.create_task(downloader.fetch(one, None, site.progress.append))
    await eventually(lambda: site.progress)
    with pytest.raises(InsufficientDisk, match="504 bytes are missing"):
        await downloader.fetch(other, None, site.progress.append)
    site.hub.faults.clear()
    await first
    await downloader.fetch(other, None, site.progress.append)


async def test_a_cancelled_download_leaves_no_process_and_no_file(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    fetching = asyncio.create_task(site.fetch(model))
    child = await downloading(site)
    fetching.cancel()
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert not child.is_running()
    assert not site.files()


async def test_cancelling_at_any_moment_leaves_no_process(site: Site) -> None:
    model = site.model("org/model", SMALL)
    for steps in range(0, 40, 3):
        fetching = asyncio.create_task(site.fetch(model))
        for _ in range(steps):
            await asyncio.sleep(0)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert not download_processes()


async def test_a_killed_child_is_not_blamed_on_the_caller(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    fetching = asyncio.create_task(site.fetch(model))
    (await downloading(site)).kill()
    with pytest.raises(HubUnavailable, match="ended unexpectedly"):
        await fetching
    assert not site.partials()
    site.hub.faults.clear()
    await site.fetch(model)


ROUTER = """
import asyncio, sys
from pathlib import Path
from router.models import ResolvedModel
from router.downloads.downloader import SnapshotDownloader

cache, endpoint, ca_file, name, commit = sys.argv[1:]
downloader = SnapshotDownloader(
    Path(cache), {"HF_ENDPOINT": endpoint, "SSL_CERT_FILE": ca_file}
)
asyncio.run(downloader.fetch(ResolvedModel(name, commit), None, lambda _: None))
"""


async def test_the_child_ends_with_its_router_and_removes_its_partial_files(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    environment = site.hub.environment()
    router = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ROUTER, str(site.cache), *environment.values()),
        *(model.repo_id, model.commit),
    )
    await eventually(site.partials)
    (child,) = download_processes()
    router.kill()
    await router.wait()
    await eventually(lambda: has_ended(child))
    assert not site.partials()


async def test_a_terminated_child_removes_its_partial_files(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    fetching = asyncio.create_task(site.fetch(model))
    child = await downloading(site)
    child.terminate()  # as the kernel does when the router dies
    with pytest.raises(HubUnavailable):
        await fetching
    assert not site.partials()


async def test_the_second_call_downloads_after_the_first_was_cancelled(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    downloader = site.downloader()
    first = asyncio.create_task(downloader.fetch(model, None, site.progress.append))
    second = asyncio.create_task(downloader.fetch(model, None, lambda _: None))
    await downloading(site)
    site.hub.faults.clear()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await second).path.is_dir()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip("may not mount a file system here")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_disk_that_fills_up_in_the_middle_is_emptied_again(
    site: Site, small_disk: Path
) -> None:
    site.cache = small_disk / "hub"
    shards = {f"model-{n}.safetensors": bytes([n]) * 1_500_000 for n in range(4)}
    model = site.model("org/model", {"config.json": b"{}", **shards})
    with pytest.raises(InsufficientDisk, match="filled up"):
        await site.fetch(model)
    assert not site.files()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), InsufficientDisk),
        (RuntimeError("IO Error: No space left on device (os error 28)"), InsufficientDisk),
        (RuntimeError("Disk quota exceeded (os error 122)"), InsufficientDisk),
        *(
            (OSError(number, os.strerror(number), "/cache"), StorageFailed)
            for number in (errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.ENAMETOOLONG)
        ),
        (RuntimeError("IO Error: Read-only file system (os error 30)"), StorageFailed),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), HubUnavailable),
        (RuntimeError("Connection refused (os error 111)"), HubUnavailable),
        (RuntimeError("Data processing error"), HubUnavailable),
    ],
)
def test_causes_of_a_broken_download_are_distinguished(
    error: Exception, kind: type[RouterError]
) -> None:
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    request = HubRequest("https://hub", "org/model", None, with_token=False)
    assert type(download_error(wrapped, request)) is kind


@pytest.mark.parametrize("obstacle", ["a file", "a file below", "a long name"])
async def test_a_cache_that_can_not_be_used_is_named_to_the_operator_alone(
    site: Site, caplog: pytest.LogCaptureFixture, obstacle: str
) -> None:
    model = site.model("org/model", SMALL)
    home = site.cache.parent
    (home / "file").write_text("")
    below = {"a file": "file", "a file below": "file/hub", "a long name": "x" * 300}
    site.cache = home / below[obstacle]
    with pytest.raises(StorageFailed, match="operator has to act") as caught:
        await site.fetch(model)
    assert str(home) not in caught.value.message
    assert str(home / below[obstacle].partition("/")[0]) in caplog.text
    assert not download_processes()


def _make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


async def test_a_cache_that_becomes_read_only_is_named(
    site: Site, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site.cache = small_disk / "hub"
    first, second = site.model("org/first", SMALL), site.model("org/second", SMALL)
    path = await site.fetch(first)
    await asyncio.to_thread(_make_read_only, small_disk)
    with pytest.raises(StorageFailed, match="Read-only file system"):
        await site.fetch(second)
    assert str(small_disk) in caplog.text
    assert await site.fetch(first) == path


@pytest.mark.parametrize("where", [r"/api/.*", r"/org/model/resolve/.*", CDN_WEIGHTS])
@pytest.mark.parametrize("kind", ["429", "500", "hang"])
async def test_a_hub_in_trouble_ends_the_download_in_time(
    site: Site, where: str, kind: str
) -> None:
    model = site.model("org/model", SMALL)
    site.hub.faults.add(where, kind, times=None)  # type: ignore[arg-type]
    with pytest.raises(HubUnavailable) as caught:
        await site.fetch(model, stall_timeout=STALL_TIMEOUT if kind == "429" else 0.5)
    if kind == "429" and where != CDN_WEIGHTS:
        assert caught.value.retry_after == 55.0
    assert not download_processes()


async def test_a_body_cut_once_is_resumed(site: Site) -> None:
    model = site.model("org/model", LARGE)
    site.hub.faults.add(CDN_WEIGHTS, "cut", times=1)
    path = await site.fetch(model)
    assert (path / "model.safetensors").stat().st_size == 6_000_000


async def test_the_operators_directory_is_used_as_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    model = ResolvedModel("mine", "local", access=Access.LOCAL, path=directory)
    downloader = SnapshotDownloader(tmp_path / "cache", {})
    with pytest.raises(UnsupportedModel, match=r"config\.json"):
        await downloader.fetch(model, None, lambda _: None)
    (directory / "config.json").write_text("{}")
    assert (await downloader.fetch(model, None, lambda _: None)).path == directory


async def test_a_download_that_makes_room_goes_on_where_it_was(site: Site) -> None:
    slow, quick = site.model("org/slow", LARGE), site.model("org/quick", SMALL)
    site.hub.faults.add(r"/org/slow/resolve/.*/model\.safetensors", "hang", times=None)
    downloader = site.downloader(places=Places(1, patience=0.5))
    first = asyncio.create_task(
        downloader.fetch(slow, None, site.progress.append, lambda: ("ann",))
    )
    config = f"/org/slow/resolve/{slow.commit}/config.json"
    await eventually(lambda: any(each.described for each in site.progress))
    second = asyncio.create_task(
        downloader.fetch(quick, None, lambda _: None, lambda: ("bob",))
    )
    assert (await second).path.is_dir()
    site.hub.faults.clear()
    await first
    assert FetchProgress(0, 0, queued=True) in site.progress
    fetched = [one for one in site.hub.requests if one.path == config and one.method == "GET"]
    assert len(fetched) == 1


async def test_a_place_is_free_once_the_child_before_is_dead(site: Site) -> None:
    one, other = site.model("org/one", LARGE), site.model("org/other", SMALL)
    site.hub.faults.add(CDN_WEIGHTS, "stall", times=None)
    downloader = site.downloader(places=Places(1))
    first = asyncio.create_task(downloader.fetch(one, None, site.progress.append))
    child = await downloading(site)
    alive: list[bool] = []
    second = asyncio.create_task(
        downloader.fetch(other, None, lambda at: alive.append(child.is_running()))
    )
    await eventually(lambda: alive)  # the callback says that it waits
    site.hub.faults.clear()
    first.cancel()
    assert await second
    assert alive[0]
    assert not any(alive[1:])


async def test_what_is_on_disk_waits_for_no_place(site: Site) -> None:
    model, slow = site.model("org/model", SMALL), site.model("org/slow", LARGE)
    downloader = site.downloader(places=Places(1))
    path = await downloader.fetch(model, None, lambda _: None)
    site.hub.faults.add(CDN_WEIGHTS, "hang", times=None)
    downloading = asyncio.create_task(downloader.fetch(slow, None, site.progress.append))
    await eventually(lambda: site.progress)
    async with asyncio.timeout(90):
        assert await downloader.fetch(model, None, lambda _: None) == path
    downloading.cancel()
    await asyncio.gather(downloading, return_exceptions=True)


@pytest.mark.parametrize(
    ("failure", "told"),
    [(TimeoutError(), UnsupportedModel), (SideProcessDied(), HubUnavailable)],
)
async def test_a_configuration_is_checked_aside(
    site: Site, failure: Exception, told: type[Exception]
) -> None:
    aside, model = FakeAside(), site.model("org/model", SMALL)
    assert await site.fetch(model, aside=aside)
    assert aside.done == ["judge"]
    aside.failure = failure
    with pytest.raises(told):
        await site.fetch(model, aside=aside)


async def test_what_is_refused_aside_is_refused(site: Site) -> None:
    model = site.model("org/model", SMALL)
    snapshot = await site.fetch(model)
    (snapshot / "generation_config.json").write_text('{"tokenizer": "/etc/passwd"}')
    aside = SideProcesses()
    with pytest.raises(UnsupportedModel, match="generation_config"):
        await site.fetch(model, aside=aside)
    await aside.close()
