from __future__ import annotations

import pytest

from router.config.platform import worker_id

BEHIND_A_BALANCER = {"RUNPOD_ENDPOINT_ID": "endpoint", "RUNPOD_POD_ID": " pod ", "PORT": "80"}


def test_a_worker_has_the_id_by_which_the_load_balancer_knows_it() -> None:
    assert worker_id(BEHIND_A_BALANCER) == "pod"


@pytest.mark.parametrize("missing", BEHIND_A_BALANCER)
def test_a_worker_without_a_load_balancer_has_no_id(missing: str) -> None:
    assert worker_id({k: v for k, v in BEHIND_A_BALANCER.items() if k != missing}) == ""


def test_a_queue_worker_has_no_id() -> None:
    assert worker_id({**BEHIND_A_BALANCER, "RUNPOD_WEBHOOK_GET_JOB": "https://x"}) == ""
