"""The scenes of the other end-to-end tests: one Hub for each module, over HTTP and jobs."""

from __future__ import annotations

from tests.e2e.conftest import caller, pytest_runtest_makereport, scene
from tests.e2e_runpod.conftest import stage

__all__ = ["caller", "pytest_runtest_makereport", "scene", "stage"]
