"""The answer of `model_info` for a repository at one commit."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from tests.loopback_hub.contents import Blob, Commit
from tests.loopback_hub.repositories import Repo

Json = dict[str, Any]


def model_info(repo: Repo, commit: Commit, *, blobs: bool) -> Json:
    info: Json = {
        "_id": next(iter(repo.commits))[:24],
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.id.partition("/")[0],
        "sha": commit.sha,
        "private": repo.private,
        "createdAt": "2022-03-02T23:29:04.000Z",
        "gated": repo.gated,
        "disabled": repo.disabled,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": [
            {"rfilename": path, **(_blob_fields(blob) if blobs else {})}
            for path, blob in commit.files.items()
        ],
    }
    if config := commit.files.get("config.json"):
        info["config"] = _config(config)
    if parameters := _parameters(commit):
        info["safetensors"] = {"parameters": parameters, "total": sum(parameters.values())}
    return info


def tree_entry(path: str, blob: Blob) -> Json:
    """A file's entry in `/tree` and `/paths-info`."""
    entry: Json = {"type": "file", "oid": blob.oid, "size": len(blob.data), "path": path}
    if blob.pointer_size is not None:
        entry["lfs"] = {
            "oid": blob.sha256,
            "size": len(blob.data),
            "pointerSize": blob.pointer_size,
        }
    return entry


def folder_entry(path: str, oid: str) -> Json:
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _blob_fields(blob: Blob) -> Json:
    fields: Json = {"size": len(blob.data), "blobId": blob.oid}
    if blob.pointer_size is not None:
        fields["lfs"] = {
            "sha256": blob.sha256,
            "size": len(blob.data),
            "pointerSize": blob.pointer_size,
        }
    return fields


def _config(blob: Blob) -> Json:
    config = _object(blob.data)
    return {key: config[key] for key in ("architectures", "model_type") if key in config}


def _parameters(commit: Commit) -> dict[str, int]:
    """Parameters by data type, from the headers of the safetensors files.

    A header is its length (8 bytes, little-endian), then JSON:
    https://huggingface.co/docs/safetensors/index#format.
    """
    count: Counter[str] = Counter()
    for path, blob in commit.files.items():
        if path.endswith(".safetensors"):
            length = int.from_bytes(blob.data[:8], "little")
            tensors = _object(blob.data[8 : 8 + length])
            tensors.pop("__metadata__", None)
            for tensor in tensors.values():
                count[tensor["dtype"]] += math.prod(tensor["shape"])
    return dict(count)


def _object(text: bytes) -> Json:
    """The JSON object in `text`; empty if a test put other bytes into the file."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
