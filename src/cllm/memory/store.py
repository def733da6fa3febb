"""A memory as the `memory` section of a `.cllm` file: safetensors, with the training files' names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cllm import container
from cllm.checkpoint import MEMORY
from cllm.errors import InvalidCheckpoint
from cllm.memory import evidence
from cllm.memory.gate import Gate
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Memory, Source


def to_bytes(memory: Memory) -> bytes:
    """The section."""
    sources = [[s.path, s.language, s.spdx] for s in memory.sources]
    names = np.frombuffer(json.dumps({"sources": sources, "lengths": evidence.LENGTHS}).encode(), dtype=np.uint8)
    tensors: dict[str, NDArray[Any]] = {"sources": names, **memory.index.arrays()}
    tensors |= memory.static.arrays("static") | memory.cached.arrays("cached")
    return bytes(save({name: np.ascontiguousarray(array) for name, array in tensors.items()}))


def from_bytes(data: bytes) -> Memory:
    """What `to_bytes` gave. Raises `InvalidCheckpoint`."""
    try:
        tensors: Mapping[str, NDArray[Any]] = load(data)
        index = MemoryIndex.from_arrays(tensors)
        described = json.loads(tensors["sources"].tobytes())
        sources = tuple(Source(str(path), str(language), spdx) for path, language, spdx in described["sources"])
        static, cached = Gate.from_arrays(tensors, "static"), Gate.from_arrays(tensors, "cached")
        if len(sources) != index.documents or described["lengths"] != list(evidence.LENGTHS):
            raise ValueError
        if len(static.outer_bias) != evidence.STATIC_COMPONENTS or len(cached.outer_bias) != evidence.CACHED_COMPONENTS:
            raise ValueError
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InvalidCheckpoint("its memory cannot be read: use another model file, or train again") from error
    return Memory(index, static, cached, sources)


def has_memory(header: container.Header) -> bool:
    """Whether a model file has a memory."""
    return any(section.name == MEMORY for section in header.sections)


def load_memory(path: Path) -> Memory | None:
    """The memory of a model file, None if it has none. Raises `InvalidCheckpoint`."""
    if not has_memory(container.read_header(path)):
        return None
    section = container.read(path, [MEMORY])[1][MEMORY]
    try:
        return from_bytes(section)
    except InvalidCheckpoint as error:
        raise InvalidCheckpoint(f"{path}: {error}") from error
