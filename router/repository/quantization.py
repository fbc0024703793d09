"""Refuses quantizations that an engine could not compute or would not notice."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from router.errors import UnsupportedModel
from router.repository import architectures as sglang
from router.repository.conditions import Conditions
from router.repository.read_json import shown

Json = Mapping[str, Any]

MODELOPT = "hf_quant_config.json"
# AutoGPTQ and AutoAWQ wrote these files before config.json had a place for their content.
BESIDE = ("quantize_config.json", "quant_config.json")
_BITS = ("bits", "w_bit")
_PACKED = range(1, 9)  # bits per weight

_USE_ANOTHER = "Use the model in another format (FP8, AWQ, GPTQ, or unquantized)."


def check_quantization(
    config: Json, beside: Mapping[str, Json], files: Collection[str], on: Conditions
) -> None:
    """Raises `UnsupportedModel`.

    `config`: of config.json. `beside`: the content of `MODELOPT` and of the `BESIDE` files that
    the repository has. `files`: names of the top-level files.
    """
    if on.sets("--quantization", "--load-format", "--json-model-override-args") or not on.plain:
        return
    if "quant_model_description.json" in files:
        return  # for devices of another make; SGLang reads it first
    stated = stated_quantization(config)
    if _is_for_apple(config, stated):
        raise UnsupportedModel(
            f"The model is quantized for Apple's MLX, and this worker can't load that. "
            f"{_USE_ANOTHER}"
        )
    if stated is None and MODELOPT not in beside:
        _check_seen(beside)
    method = _modelopt(beside.get(MODELOPT, {})) if stated is None else _method(stated)
    if method is not None:
        _check_method(method, on)


def _check_seen(beside: Mapping[str, Json]) -> None:
    """SGLang reads these files only if a flag says so. Otherwise it skips the weights with
    unexpected names and gives nonsense answers."""
    for name in BESIDE:
        if any(beside.get(name, {}).get(key) in _PACKED for key in _BITS):
            raise UnsupportedModel(
                f"The model's {name} describes quantized weights, and its config.json has no "
                "`quantization_config`, so SGLang can't load them. Ask its owner to add that, "
                "or the operator to set --quantization for this model in the models file."
            )


def _check_method(method: str, on: Conditions) -> None:
    known = sglang.quantization(method)
    if known is None:
        raise UnsupportedModel(
            f"SGLang {sglang.version()} does not support the quantization {shown(method)} of "
            f"this model. {_USE_ANOTHER}"
        )
    if on.cpu:
        if not known.cpu:
            raise UnsupportedModel(
                f"This worker runs models on a CPU, which can't compute with the quantization "
                f"{shown(method)} of this model. Use an unquantized model, or a worker with a "
                "GPU."
            )
        return
    # The method that SGLang uses for it on a GPU.
    if method == "gptq":
        known = sglang.quantization("gptq_marlin") or known
    needed = known.capability
    has = on.capability
    if has is not None and needed is not None and has < needed:
        raise UnsupportedModel(
            f"The quantization {shown(method)} of this model needs a GPU of compute "
            f"capability {_dotted(needed)}, and this worker's has {_dotted(has)}. Use the "
            "model in another format, or a worker with a newer GPU."
        )


def stated_quantization(config: Json) -> object | None:
    """The quantization settings in config.json, where SGLang looks; None if there are none."""
    found: object = None
    for part in _text_parts(config):
        found = found or part.get("quantization_config")
    return found or config.get("compression_config")


def _method(stated: object) -> str | None:
    """The method that SGLang determines; None if that depends on more."""
    if not isinstance(stated, dict):
        return None
    method = stated.get("quant_method")
    if method is None or method == "modelopt":
        return _modelopt(stated)
    return method.lower() if isinstance(method, str) and method.lower() != "modelopt" else None


def _modelopt(content: Json) -> str | None:
    """SGLang's name for the ModelOpt quantization; None: it has none."""
    part = content.get("quantization", content)
    part = part.get("quantization", part) if isinstance(part, dict) else {}
    algorithm = part.get("quant_algo") if isinstance(part, dict) else None
    if not isinstance(algorithm, str) or algorithm == "MIXED_PRECISION":
        return None
    if "FP4" in algorithm:
        return "modelopt_fp4"
    return {"FP8": "modelopt_fp8", "MXFP8": "mxfp8"}.get(algorithm)


def _is_for_apple(config: Json, stated: object) -> bool:
    """MLX has no name for its method. SGLang has code for it, but only on Apple's machines."""
    return any(
        isinstance(part, dict)
        and part.keys().isdisjoint({"quant_method", "quant_algo"})
        and type(part.get("group_size")) is type(part.get("bits")) is int
        for part in (config.get("quantization"), stated)
    )


def _text_parts(config: Json) -> Iterator[Json]:
    yield config
    text = config.get("text_config")
    if isinstance(text, dict):
        yield text


def _dotted(capability: int) -> str:
    return f"{capability // 10}.{capability % 10}"
