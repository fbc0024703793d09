"""Detects where the worker runs, and reads the variables that RunPod sets."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from router.secrets import Secret


class Platform(StrEnum):
    """Where the worker runs. It decides the deadlines and whether callers are known."""

    QUEUE = "RunPod's queue"
    LOAD_BALANCER = "RunPod's load balancer"
    PLAIN = "plain HTTP"


def detect(environ: Mapping[str, str]) -> Platform:
    """Detect the platform from its variables.

    RunPod gives a queue worker a URL for its jobs, and a load-balanced worker an endpoint and
    ports. Anything less certain is PLAIN, which trusts nobody: a Pod has a RUNPOD_POD_ID too,
    but nothing in front of it authenticates callers.
    """
    if _is_set(environ, "RUNPOD_WEBHOOK_GET_JOB"):
        return Platform.QUEUE
    worker = _is_set(environ, "RUNPOD_ENDPOINT_ID") and _is_set(environ, "RUNPOD_POD_ID")
    if worker and (_is_set(environ, "PORT") or _is_set(environ, "PORT_HEALTH")):
        return Platform.LOAD_BALANCER
    return Platform.PLAIN


def worker_id(environ: Mapping[str, str]) -> str:
    """This worker's id at RunPod's load balancer (`X-Runpod-Worker-Id`); elsewhere ""."""
    behind = detect(environ) is Platform.LOAD_BALANCER
    return environ["RUNPOD_POD_ID"].strip() if behind else ""


def platform_keys(environ: Mapping[str, str]) -> tuple[Secret, ...]:
    """RunPod's own keys, which must not be logged."""
    names = ("RUNPOD_API_KEY", "RUNPOD_AI_API_KEY")
    return tuple(Secret(environ[name].strip()) for name in names if _is_set(environ, name))


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return bool(environ.get(name, "").strip())
