"""`model-router ray up`, as far as it goes without Ray; `tests/e2e_ray` has the rest."""

from __future__ import annotations

import importlib.util

import pytest

from router.commands.ray import closed_place, private, ray_up

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is not None, reason="Ray is installed here"
)


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
