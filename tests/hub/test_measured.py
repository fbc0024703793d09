from __future__ import annotations

import pytest

from router.errors import ModelNotFound
from router.hub.measured import MeasuredHub
from router.hub.watch import HubWatch
from router.models import ModelRef
from tests.doubles import FakeHub
from tests.pool.fakes import FakeClock


async def test_each_question_is_told_with_its_outcome_and_its_time() -> None:
    hub, told = FakeHub(), list[tuple[str, str, float]]()
    hub.add("org/a")
    now = iter(range(100))
    watch = HubWatch("https://hub", 0.0, FakeClock())
    measured = MeasuredHub(
        hub, lambda *one: told.append(one), watch, clock=lambda: float(next(now))
    )
    model = await measured.resolve(ModelRef("org/a"), None)
    await measured.entitle(model, None)
    with pytest.raises(ModelNotFound):
        await measured.resolve(ModelRef("org/b"), None)
    assert told == [
        ("resolve", "ok", 1.0),
        ("entitle", "ok", 1.0),
        ("resolve", "model_not_found", 1.0),
    ]
