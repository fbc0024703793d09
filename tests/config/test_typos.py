from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import flags
from router.config.settings import SETTINGS
from router.config.typos import distance, misspelled

KNOWN = {name for one in (*SETTINGS.values(), *flags.SETTINGS.values()) for name in one.names}

# Real names from containers, RunPod, CI, clusters and desktops.
REALISTIC = """
PATH HOME HOST HOSTNAME HOSTTYPE PORT PORT0 PORTS LOGNAME USER SHELL SHLVL PWD OLDPWD LANG
LC_ALL TERM TZ TMPDIR MAIL EDITOR PAGER DISPLAY TYPE POST HISTFILE OSTYPE MACHTYPE
BASH_ENV MODULEPATH LD_LIBRARY_PATH LIBRARY_PATH MANPATH PYTHONPATH PYTHON_VERSION
PYTHONUNBUFFERED VIRTUAL_ENV PIP_CACHE_DIR CONDA_PREFIX JAVA_HOME GOPATH GOROOT NODE_ENV
NODE_PATH NPM_TOKEN CI CI_TOKEN GH_TOKEN GITHUB_TOKEN GITLAB_TOKEN MY_TOKEN AWS_REGION
AWS_PROFILE S3_ENDPOINT S3_BUCKET NVIDIA_VISIBLE_DEVICES NVIDIA_DRIVER_CAPABILITIES
CUDA_VERSION CUDA_HOME CUDA_VISIBLE_DEVICES NCCL_DEBUG NCCL_VERSION OMP_NUM_THREADS
TORCH_HOME TRITON_CACHE_DIR SGLANG_USE_MODELSCOPE HF_HUB_OFFLINE HF_HUB_ENABLE_HF_TRANSFER
HF_XET_CACHE HF_ASSETS_CACHE HF_DATASETS_CACHE HF_DEBUG HF_TOKEN_PATH HF_HUB_ETAG_TIMEOUT
HF_HUB_DOWNLOAD_TIMEOUT TRANSFORMERS_CACHE TOKENIZERS_PARALLELISM RUNPOD_POD_ID
RUNPOD_ENDPOINT_ID RUNPOD_API_KEY RUNPOD_AI_API_KEY RUNPOD_LOG_LEVEL RUNPOD_DEBUG
RUNPOD_CPU_COUNT RUNPOD_GPU_COUNT RUNPOD_MEM_GB RUNPOD_DC_ID RUNPOD_TCP_PORT_22 PUBLIC_KEY
SSL_CERT_DIR SSH_CONNECTION SSH_AUTH_SOCK REQUESTS_CA_BUNDLE CURL_CA_BUNDLE HTTP_PROXY
HTTPS_PROXY NO_PROXY http_proxy https_proxy KUBERNETES_PORT KUBERNETES_SERVICE_HOST
KUBERNETES_SERVICE_PORT ROUTER_PORT_8000_TCP ROUTER_SERVICE_PORT_HTTP MAX_MODEL_LEN
MAX_NUM_SEQS GPU_MEMORY_UTILIZATION TOKENIZER_NAME DISABLE_LOG_REQUESTS XDG_CACHE_HOME
XDG_CONFIG_HOME LOG_DIR DEBUG VERBOSE _
"""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("MAX_LOADED_MODEL", "MAX_LOADED_MODELS"),
        ("HF_TOKN", "HF_TOKEN"),
        ("HF_TKN", "HF_TOKEN"),
        ("HF_TOEKN", "HF_TOKEN"),
        ("FH_TOKEN", "HF_TOKEN"),
        ("GPU_MEMORY_BUGET", "GPU_MEMORY_BUDGET"),
        ("GPU_MEM0RY_BUDGTE", "GPU_MEMORY_BUDGET"),
        ("max_queue", "MAX_QUEUE"),
        ("AX_QUEUE", "MAX_QUEUE"),
        ("HUGGINGFACE_HUB_CASHE", "HUGGINGFACE_HUB_CACHE"),
        ("DISABLE_RADIX_CASH", "DISABLE_RADIX_CACHE"),
        ("CONTEXT_LENGHT", "CONTEXT_LENGTH"),
        ("DTYP", "DTYPE"),
    ],
)
def test_a_name_that_is_a_letter_or_two_from_a_setting_is_told_of(
    written: str, meant: str
) -> None:
    assert list(misspelled([written], KNOWN)) == [(written, meant)]


def test_no_other_variable_is_taken_for_a_setting() -> None:
    assert list(misspelled(REALISTIC.split(), KNOWN)) == []


def test_a_setting_is_not_taken_for_another() -> None:
    assert list(misspelled(KNOWN, KNOWN)) == []


@pytest.mark.parametrize(
    ("one", "other", "letters"),
    [("", "ab", 2), ("ab", "ab", 0), ("ab", "ba", 1), ("abcd", "acbd", 1), ("abc", "axc", 1)],
)
def test_letters_are_added_dropped_changed_or_swapped(
    one: str, other: str, letters: int
) -> None:
    assert distance(one, other) == letters


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_the_same_both_ways_and_0_only_for_equals(one: str, other: str) -> None:
    assert distance(one, other) == distance(other, one)
    assert (distance(one, other) == 0) == (one == other)
