"""The models of a trace, as the scheduler knows them. Each is made once, at its first use."""

from __future__ import annotations

from collections.abc import Sequence

from router.models import EngineKey, EngineSpec
from router.simulation.hardware import Model


class ModelSpecs:
    """`declared`: whether the operator declares the memory of each model."""

    def __init__(self, models: Sequence[Model], *, declared: bool) -> None:
        self._models, self._declared = models, declared
        self._specs: dict[int, EngineSpec] = {}
        self._by_key: dict[EngineKey, Model] = {}

    def __getitem__(self, number: int) -> EngineSpec:
        spec = self._specs.get(number)
        if spec is None:
            model = self._models[number]
            spec = self._specs[number] = model.spec(declared=self._declared)
            self._by_key[spec.key] = model
        return spec

    def model(self, key: EngineKey) -> Model:
        return self._by_key[key]
