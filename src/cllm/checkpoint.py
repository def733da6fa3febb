"""Models and training states, to and from `.cllm` files."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cllm import container
from cllm.container import Header
from cllm.errors import InvalidCheckpoint
from cllm.model.config import ModelConfig
from cllm.model.transformer import Transformer
from cllm.tokenizer import Tokenizer

WEIGHTS, TOKENIZER, OPTIMIZER, MEMORY = "weights", "tokenizer", "optimizer", "memory"


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """A digest of names, types, shapes and values, in the order of the names: the same on every machine."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().contiguous().cpu()
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.view(torch.uint8).numpy().data if tensor.ndim else struct.pack("<d", tensor.item()))
    return digest.hexdigest()


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}


def write(
    path: Path,
    header: Header,
    weights: Mapping[str, Tensor],
    tokenizer_json: str,
    optimizer: Mapping[str, Tensor] | None = None,
    memory: bytes | None = None,
) -> None:
    """Write a model, or with `optimizer` a checkpoint that a training can go on from. Raises `StorageFull`.

    `memory` is a section of `cllm.memory.store`.
    """
    sections = {WEIGHTS: save(_plain(weights)), TOKENIZER: tokenizer_json.encode()}
    if optimizer is not None:
        sections[OPTIMIZER] = save(_plain(optimizer))
    if memory is not None:
        sections[MEMORY] = memory
    container.write(path, header, sections)


def tensors_of(path: Path, section: str, data: bytes) -> dict[str, Tensor]:
    """The tensors of a section. Raises `InvalidCheckpoint`."""
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise InvalidCheckpoint(f"{path}: its {section} cannot be read ({error}); use another checkpoint") from error


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use (eval mode, no gradients), with its tokenizer."""

    model: Transformer
    tokenizer: Tokenizer
    header: Header
    path: Path


def load_weights(model: Transformer, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy `weights` into `model`. Raises `InvalidCheckpoint` if names or shapes differ."""
    try:
        model.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise InvalidCheckpoint(
            f"{path}: its weights do not fit its own model configuration; use another checkpoint"
        ) from error


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """The model in a `.cllm` file of either kind, computing in `dtype`. Raises `InvalidCheckpoint`."""
    path = Path(path)
    header, sections = container.read(path, [WEIGHTS, TOKENIZER])
    try:
        config = ModelConfig(**header.model)
        tokenizer = Tokenizer.from_json(sections[TOKENIZER].decode())
    except (ValidationError, ValueError, TypeError) as error:
        raise InvalidCheckpoint(
            f"{path}: its model configuration or tokenizer is not valid; use another checkpoint"
        ) from error
    weights = tensors_of(path, WEIGHTS, sections[WEIGHTS])
    model = Transformer(config, dtype)
    load_weights(model, weights, path)
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, header, path)
