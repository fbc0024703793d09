from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from engines.command import (
    CPU_MODULES,
    ENTRY,
    POOLING_MODULES,
    Device,
    argv,
    cache_size,
    environment,
    may_wait,
    served_name,
)
from engines.engine_port import EnginePort
from engines.engine_user import Workspace
from engines.flags import flags
from router.models import EngineSpec, ResolvedModel, Task
from router.repository.engine_flags import engine_flags
from router.scheduler.actions import Allotment
from router.secrets import Secret, Token

GIB = 1 << 30
COMMIT = "0123456789abcdef0123456789abcdef01234567"
WHOLE = Allotment(claim=80 * GIB, free=80 * GIB, whole=True)
SNAPSHOT = Path("/snapshots/org/name")
WORKSPACE = Workspace(Path("/workspaces/1"), None, "")
PORT = EnginePort(1234, Secret("key of the port"), (7, 8))


def spec(task: Task = Task.GENERATE, *flags: str, hf_token: bool = False) -> EngineSpec:
    return EngineSpec(ResolvedModel("org/name", COMMIT, task), flags, hf_token=hf_token)


def command(
    spec: EngineSpec,
    device: Device = Device.CUDA,
    *media_domains: str,
    allotment: Allotment = WHOLE,
) -> tuple[str, ...]:
    return argv(
        spec,
        SNAPSHOT,
        PORT,
        allotment,
        python="/usr/bin/python3",
        device=device,
        media_domains=media_domains,
    )


def option(command: tuple[str, ...], name: str) -> str:
    return command[command.index(name) + 1]


def test_an_engine_is_told_its_first_gpu_unless_that_is_the_first_of_all() -> None:
    placed = replace(WHOLE, devices=(2, 3))
    assert option(command(spec(), allotment=placed), "--base-gpu-id") == "2"
    assert "--base-gpu-id" not in command(spec())
    assert "--base-gpu-id" not in command(spec(), Device.CPU, allotment=placed)


def test_an_engine_is_told_how_many_gpus_the_router_has_chosen_for_it() -> None:
    assert option(command(spec(), allotment=replace(WHOLE, tensor=4)), "--tp-size") == "4"
    assert "--tp-size" not in command(spec())


def test_an_engine_serves_the_snapshot_on_loopback_under_the_canonical_name() -> None:
    line = command(spec())
    assert line[:4] == ("/usr/bin/python3", str(ENTRY), "7,8", "sglang.launch_server")
    assert option(line, "--model-path") == str(SNAPSHOT)
    assert option(line, "--served-model-name") == "org/name"
    assert option(line, "--host") == "127.0.0.1"
    assert option(line, "--port") == "1234"


def test_the_key_of_its_port_is_not_on_its_command_line() -> None:
    assert PORT.key.reveal() not in " ".join(command(spec()))


def test_an_engine_that_waits_is_told_where_and_given_the_files_of_its_gate() -> None:
    gate = EnginePort(1235, Secret("key of the gate"), (9, 10))
    line = argv(spec(), SNAPSHOT, PORT, WHOLE, python="python", device=Device.CUDA, gate=gate)
    assert line[2] == "7,8,9,10"
    assert option(line, "--gated-launch-port") == "1235"
    assert "--gated-launch-port" not in command(spec())


SHARED = Allotment(claim=20 * GIB, free=60 * GIB, whole=False)


@pytest.mark.parametrize(
    ("may", "device", "allotment", "flags"),
    [
        (True, Device.CUDA, WHOLE, ("--tp-size", "2")),
        (True, Device.CUDA, replace(SHARED, tokens=1000), ()),
        (True, Device.CPU, SHARED, ()),
        (False, Device.CUDA, SHARED, ()),
        (False, Device.CUDA, replace(WHOLE, smaller=True), ()),
        (False, Device.CUDA, WHOLE, ("--nnodes=2",)),
        (False, Device.CPU, WHOLE, ("--dp", "2")),
    ],
)
def test_an_engine_waits_if_its_flags_can_be_set_before_it_goes_on(
    may: bool, device: Device, allotment: Allotment, flags: tuple[str, ...]
) -> None:
    assert may_wait(spec(Task.GENERATE, *flags), allotment, device) is may


def test_a_relative_snapshot_can_not_be_taken_for_a_hub_id(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    line = argv(spec(), Path("org/name"), PORT, WHOLE, python="python3", device=Device.CUDA)
    assert option(line, "--model-path") == str(tmp_path / "org/name")


def test_a_served_name_has_no_colon() -> None:
    assert served_name(ResolvedModel("C:/models/name", COMMIT)) == "C-/models/name"


@pytest.mark.parametrize(
    ("task", "embeds"), [(Task.GENERATE, False), (Task.EMBED, True), (Task.CLASSIFY, True)]
)
def test_only_generation_engines_generate(task: Task, embeds: bool) -> None:
    assert ("--is-embedding" in command(spec(task))) is embeds


def test_the_operators_flags_come_last() -> None:
    line = command(spec(Task.GENERATE, "--max-total-tokens", "64"), Device.CPU)
    assert line[-2:] == ("--max-total-tokens", "64")


ENCODER = {"architectures": ["BertModel"], "max_position_embeddings": 512}


def of_encoder(*flags: str, device: Device = Device.CUDA) -> tuple[str, ...]:
    return argv(
        spec(Task.EMBED, *flags),
        SNAPSHOT,
        PORT,
        Allotment(claim=20 * GIB, free=60 * GIB, whole=False),
        python="python3",
        device=device,
        own=engine_flags(ENCODER, Task.EMBED, cache=cache_size(device)),
    )


def test_an_encoder_has_no_chunks_whatever_the_operator_gives_to_all_models() -> None:
    line = of_encoder("--chunked-prefill-size", "4096")
    assert line[-3:] == ("--disable-radix-cache", "--chunked-prefill-size", "-1")


def test_the_operator_says_how_much_an_encoder_computes_at_once() -> None:
    line = of_encoder("--max-prefill-tokens", "8192")
    assert [line[at + 1] for at, flag in enumerate(line) if flag == "--max-prefill-tokens"] == [
        "2048",
        "8192",
    ]


def test_an_encoder_on_the_cpu_takes_no_text_that_its_cache_can_not_hold() -> None:
    long = ENCODER | {"max_position_embeddings": 8192}
    own = engine_flags(long, Task.EMBED, cache=cache_size(Device.CPU))
    line = argv(spec(Task.EMBED), SNAPSHOT, PORT, WHOLE, python="", device=Device.CPU, own=own)
    assert option(line, "--context-length") == "4095"
    assert option(line, "--max-total-tokens") == "4096"


def test_without_media_domains_none_is_allowed() -> None:
    assert option(command(spec()), "--allowed-media-domains") == "none.invalid"


def test_media_domains_are_set_by_the_operator() -> None:
    line = command(spec(), Device.CUDA, "a.example", "b.example")
    at = line.index("--allowed-media-domains")
    assert line[at + 1 : at + 3] == ("a.example", "b.example")


def test_the_cpu_is_asked_for_where_there_is_no_gpu() -> None:
    assert option(command(spec(), Device.CPU), "--device") == "cpu"
    assert "--device" not in command(spec())


def seen(environ: dict[str, str], device: Device = Device.CUDA) -> dict[str, str]:
    return environment(environ, spec(), workspace=WORKSPACE, device=device, hf_token=None)


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "LD_LIBRARY_PATH", "LC_ALL", "CUDA_VISIBLE_DEVICES"),
        *("NCCL_DEBUG", "SGLANG_ENABLE_JIT_DEEPGEMM", "TORCH_CUDA_ARCH_LIST"),
    ],
)
def test_an_engine_sees_what_it_needs(name: str) -> None:
    assert seen({name: "value"})[name] == "value"


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "RUNPOD_AI_API_KEY", "API_KEYS"),
        *("ADMIN_API_KEY", "AWS_SECRET_ACCESS_KEY", "ALICES_TOKEN", "MODELS_CONFIG"),
        *("SGLANG_API_KEY", "CUDA_LICENCE_TOKEN", "REQUEST_TIMEOUT", "HTTPS_PROXY"),
    ],
)
def test_an_engine_sees_nothing_else(name: str) -> None:
    secret = secrets.token_hex(16)
    assert secret not in seen({name: secret}).values()


def test_the_token_goes_only_to_an_engine_that_may_have_it() -> None:
    token = Token("hf_" + secrets.token_hex(16))

    def given(engine: EngineSpec, token: Token | None) -> str | None:
        return environment(
            {}, engine, workspace=WORKSPACE, device=Device.CUDA, hf_token=token
        ).get("HF_TOKEN")

    assert given(spec(hf_token=True), token) == token.reveal()
    assert given(spec(hf_token=False), token) is None
    assert given(spec(hf_token=True), None) is None


def test_an_engine_does_not_use_the_login_of_the_machine() -> None:
    assert seen({"HF_TOKEN_PATH": "/root/.token"})["HF_TOKEN_PATH"] == os.devnull


def store(environ: dict[str, str]) -> str | None:
    """The file at which the processes of an engine with these settings meet, if any."""
    return environment(
        {},
        spec(Task.GENERATE, *flags(environ)),
        workspace=WORKSPACE,
        device=Device.CUDA,
        hf_token=None,
    ).get("SGLANG_DISTRIBUTED_INIT_METHOD_OVERRIDE")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"DTYPE": "bfloat16"},
        {"DISABLE_RADIX_CACHE": "1"},
        {"DISABLE_CUDA_GRAPH": "1"},
        {"DISABLE_OUTLINES_DISK_CACHE": "1"},
        {"TENSOR_PARALLEL_SIZE": "2"},
        {"ENGINE_ARGS": "--disable-overlap-schedule"},
        {"ENGINE_ARGS": "--download-dir /models --decode_log_interval 10"},
    ],
    ids=str,
)
def test_the_processes_of_an_engine_meet_at_a_file_and_open_no_port(
    environ: dict[str, str],
) -> None:
    assert store(environ) == f"file://{WORKSPACE.temporary}/store"


@pytest.mark.parametrize(
    "environ",
    [
        {"DATA_PARALLEL_SIZE": "2"},
        {"ENGINE_ARGS": "--dp 2"},
        {"ENGINE_ARGS": "--dp_size=2"},
        {"ENGINE_ARGS": "--attn-dp-size 2"},
        {"ENGINE_ARGS": "--dist-init-addr 10.0.0.1:5000"},
        {"ENGINE_ARGS": "--nnodes 2"},
        {"ENGINE_ARGS": "--ep-size 2"},
        {"ENGINE_ARGS": "--elastic-ep-join-mode scale"},
    ],
    ids=str,
)
def test_an_engine_of_several_parts_or_machines_meets_as_sglang_chooses(
    environ: dict[str, str],
) -> None:
    assert store(environ) is None


@pytest.mark.parametrize("flag", ["--trust-remote-code", "--trust_remote_code", "--trust"])
def test_a_models_own_code_is_imported_only_if_the_operator_trusts_it(flag: str) -> None:
    cache = {"HF_MODULES_CACHE": "/cache/modules"}
    trusted = environment(
        cache, spec(Task.GENERATE, flag), workspace=WORKSPACE, device=Device.CUDA, hf_token=None
    )
    assert "HF_MODULES_CACHE" not in trusted  # in its own HF_HOME
    strange = environment(cache, spec(), workspace=WORKSPACE, device=Device.CUDA, hf_token=None)
    with pytest.raises(NotADirectoryError):
        Path(strange["HF_MODULES_CACHE"]).mkdir(parents=True)


def test_an_engine_is_offline_whatever_the_worker_is() -> None:
    assert seen({"HF_HUB_OFFLINE": "0"})["HF_HUB_OFFLINE"] == "1"


def test_the_startup_module_is_for_the_cpu_only() -> None:
    python_path = seen({"PYTHONPATH": "/image"}, Device.CPU)["PYTHONPATH"]
    first, second = python_path.split(os.pathsep)
    assert (Path(first) / "sitecustomize.py").exists()
    assert second == "/image"
    assert "PYTHONPATH" not in seen({}, Device.CUDA)


def test_sglang_is_taught_to_take_the_mean() -> None:
    asked = environment(
        {"PYTHONPATH": "/own"},
        spec(Task.EMBED),
        workspace=WORKSPACE,
        device=Device.CPU,
        hf_token=None,
        pools_mean=True,
    )
    assert asked["SGLANG_EXTERNAL_MODEL_PACKAGE"] == "mean_pooling"
    assert asked["PYTHONPATH"] == f"{POOLING_MODULES}:{CPU_MODULES}:/own"
    assert (POOLING_MODULES / "mean_pooling/encoders.py").is_file()


def test_an_engine_that_is_to_sleep_has_the_memory_saver_and_keeps_its_weights() -> None:
    sleeps = replace(WHOLE, sleeps=True)
    line = argv(spec(), SNAPSHOT, PORT, sleeps, python="python3", device=Device.CUDA)
    assert {"--enable-memory-saver", "--enable-weights-cpu-backup"} <= {*line}
    assert "--enable-memory-saver" not in command(spec())


def test_an_engine_that_is_to_sleep_keeps_no_core_busy() -> None:
    sleeps = replace(WHOLE, sleeps=True)
    line = argv(spec(), SNAPSHOT, PORT, sleeps, python="python3", device=Device.CUDA)
    assert "--sleep-on-idle" in line


@pytest.mark.parametrize(
    "name",
    [
        "TMS_RETAIN_CPU_BACKUP",
        "TMS_INIT_CPU_BACKUP_BACKEND",
        "KVCACHED_IPC_NAME",
        "RUNAI_STREAMER_CONCURRENCY",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TILELANG_CACHE_DIR",
        "SGLANG_CACHE_DIR",
        "DG_JIT_CACHE_DIR",
        "CUDA_CACHE_PATH",
    ],
)
def test_what_tunes_memory_loading_and_kernels_reaches_the_engine(name: str) -> None:
    made = environment(
        {name: "1", f"{name}_TOKEN": "2"},
        spec(),
        workspace=WORKSPACE,
        device=Device.CUDA,
        hf_token=None,
    )
    assert made[name] == "1"
    assert f"{name}_TOKEN" not in made


@pytest.mark.parametrize(
    "flags",
    [
        ("--load-format", "runai_streamer"),
        ("--load-format", "instanttensor"),
        ("--startup-weight-load-mode", "overlap"),
        ("--weight-loader-prefetch-checkpoints",),
        ("--model-loader-extra-config", '{"concurrency": 16}'),
    ],
)
def test_an_operators_way_of_loading_reaches_the_engine(flags: tuple[str, ...]) -> None:
    line = command(spec(Task.GENERATE, *flags))
    assert line[-len(flags) :] == flags
