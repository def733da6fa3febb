"""The decoder: a Qwen3-layout transformer that computes logits and losses, and nothing else.

Shapes are in the names: B windows, T tokens, D width, H heads, K key-value heads, W head width, F feed-forward
width, V vocabulary, S tokens in the cache. Weights are kept in fp32 and cast to the dtype of the activations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cllm.model.attention import attend, view_of
from cllm.model.config import ModelConfig


class Linear(nn.Module):
    """y = x Wᵀ without a bias, in the dtype of x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """Root mean square normalisation over the last dimension (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def rotations(config: ModelConfig, length: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines (length, W/2) of the rotary angles, computed in fp64 on the CPU."""
    half = torch.arange(0, config.head_width, 2, dtype=torch.float64, device="cpu")
    positions = torch.arange(length, dtype=torch.float64, device="cpu")
    angles = torch.outer(positions, config.rope_theta ** (-half / config.head_width))
    return angles.cos().to(dtype), angles.sin().to(dtype)


def rotate(x_BTHW: Tensor, cos_TW: Tensor, sin_TW: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021) in the half-split order of Llama and Qwen; cos, sin: (T, W/2)."""
    a, b = x_BTHW.chunk(2, dim=-1)
    cos, sin = cos_TW[:, None, :], sin_TW[:, None, :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


@dataclass
class KVCache:
    """Keys and values of the tokens seen so far, for every layer: (L, B, K, S, W), of which `length` are filled."""

    keys: Tensor
    values: Tensor
    length: int = 0

    @staticmethod
    def empty(config: ModelConfig, windows: int, capacity: int, dtype: torch.dtype) -> KVCache:
        shape = (config.layers, windows, config.kv_heads, capacity, config.head_width)
        return KVCache(torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype))

    @property
    def capacity(self) -> int:
        return self.keys.shape[3]

    def add(self, layer: int, k_BTKW: Tensor, v_BTKW: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values of new tokens; returns those of all tokens, (B, S, K, W)."""
        stop = self.length + k_BTKW.shape[1]
        for kept, new in ((self.keys, k_BTKW), (self.values, v_BTKW)):
            kept[layer, :, :, self.length : stop] = new.transpose(1, 2)
        return self.keys[layer, :, :, :stop].transpose(1, 2), self.values[layer, :, :, :stop].transpose(1, 2)


class Attention(nn.Module):
    """Causal grouped-query attention with normalised queries and keys."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        self.q_proj = Linear(config.width, config.heads * config.head_width)
        self.k_proj = Linear(config.width, config.kv_heads * config.head_width)
        self.v_proj = Linear(config.width, config.kv_heads * config.head_width)
        self.o_proj = Linear(config.heads * config.head_width, config.width)
        self.q_norm = RMSNorm(config.head_width, config.norm_eps)
        self.k_norm = RMSNorm(config.head_width, config.norm_eps)

    def project(self, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, T, H, W), keys and values (B, T, K, W)."""
        B, T, _ = x_BTD.shape
        q = self.q_norm(self.q_proj(x_BTD).view(B, T, self.heads, self.head_width))
        k = self.k_norm(self.k_proj(x_BTD).view(B, T, self.kv_heads, self.head_width))
        v = self.v_proj(x_BTD).view(B, T, self.kv_heads, self.head_width)
        return rotate(q, cos, sin), rotate(k, cos, sin), v


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.width, config.ffn_width)
        self.up_proj = Linear(config.width, config.ffn_width)
        self.down_proj = Linear(config.ffn_width, config.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))
        return out


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.width, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.width, config.norm_eps)
        self.mlp = FeedForward(config)


class Drop(NamedTuple):
    """Dropout (Srivastava et al. 2014) of what the two parts of a layer add, to a 256th: random bytes (2, B, T, D)."""

    noise: Tensor
    share: float

    def __call__(self, part: int, x_BTD: Tensor) -> Tensor:
        """`x_BTD` with about `share` of its elements zero, and the others larger."""
        least = round(256 * self.share)
        return torch.where(self.noise[part] >= least, x_BTD * (256 / (256 - least)), 0.0)


def noise(*shape: int) -> Tensor:
    """Random bytes from torch's generator, which draws eight at once: single ones would take six times as long."""
    size = math.prod(shape)
    drawn = torch.empty(-(-size // 8), dtype=torch.int64).random_(-(2**63), None)
    return drawn.view(torch.uint8)[:size].view(shape)


def project(block: Block, x_BTD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A layer until its attention: queries (B, T, H, W), keys and values (B, T, K, W)."""
    return block.self_attn.project(block.input_layernorm(x_BTD), cos, sin)


def finish(block: Block, x_BTD: Tensor, seen_BTHW: Tensor, drop: Drop | None = None) -> Tensor:
    """The rest of a layer, from what its attention has seen."""
    seen_BTD = block.self_attn.o_proj(seen_BTHW.flatten(2))
    x_BTD = x_BTD + (seen_BTD if drop is None else drop(0, seen_BTD))
    made_BTD = block.mlp(block.post_attention_layernorm(x_BTD))
    out: Tensor = x_BTD + (made_BTD if drop is None else drop(1, made_BTD))
    return out


def summed_loss(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum of the losses in nats over all targets that are not negative; fp32."""
    logits_NV = F.linear(hidden_ND, head_VD.to(hidden_ND.dtype)).float()
    return F.cross_entropy(logits_NV, targets_N, ignore_index=-1, reduction="sum")


class Parts(NamedTuple):
    """What a model is made of beside attention: functions of their own, so that one compiled form serves all layers."""

    project: Callable[..., tuple[Tensor, Tensor, Tensor]] = project
    finish: Callable[..., Tensor] = finish
    loss: Callable[..., Tensor] = summed_loss


PLAIN = Parts()


class Transformer(nn.Module):
    """Token ids to logits. Parameter names are those of transformers' Qwen3 without the `model.` before them."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.dtype = dtype  # of the activations
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(config.vocabulary, config.width), freeze=False)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.lm_head = None if config.tied else Linear(config.width, config.vocabulary)
        self._angles: tuple[Tensor, Tensor] = rotations(config, config.context, dtype)

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Weights drawn from `seed` alone; the head and projections to the residual stream begin at zero (Fixup)."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
                parameter.zero_()
            else:
                std = 0.02 if name.startswith("embed") else 0.5 / math.sqrt(parameter.shape[1])
                parameter.normal_(0.0, std, generator=generator)

    def hidden(
        self,
        ids_BT: Tensor,
        documents_BS: Tensor | None = None,
        cache: KVCache | None = None,
        parts: Parts = PLAIN,
        dropout: float = 0.0,
    ) -> Tensor:
        """Activations (B, T, D) after the last norm. With `cache`, tokens follow what is in it, and are added to it.

        `documents_BS` numbers the documents of all tokens, those in the cache included: tokens of others are not seen.
        `parts` may be compiled; `dropout` is the share of what each part of a layer adds that is left out at random,
        by torch's generator. Positions beyond the trained context are rotated further, not refused;
        callers that care keep within it.
        """
        T = ids_BT.shape[1]
        start = cache.length if cache is not None else 0
        if start + T > self._angles[0].shape[0]:
            self._angles = rotations(self.config, 2 * (start + T), self.dtype)
        cos, sin = self._angles[0][start : start + T], self._angles[1][start : start + T]
        reaches, kv_heads = self.config.reaches(start + T), self.config.kv_heads
        heads = (kv_heads, self.config.heads // kv_heads)
        views = {reach: view_of(documents_BS, T, start, reach, heads, self.dtype) for reach in set(reaches)}
        x = self.embed_tokens(ids_BT).to(self.dtype)
        for i, layer in enumerate(self.layers):
            q, k, v = parts.project(layer, x, cos, sin)
            if cache is not None:
                k, v = cache.add(i, k, v)
            drop = Drop(noise(2, *x.shape), dropout) if dropout else None
            x = parts.finish(layer, x, attend(q, k, v, views[reaches[i]]), drop)
        if cache is not None:
            cache.length += T
        out: Tensor = self.norm(x)
        return out

    @property
    def _head_VD(self) -> Tensor:
        """The output layer."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 scores (..., V) of the next token."""
        return F.linear(hidden, self._head_VD.to(hidden.dtype)).float()

    def forward(
        self, ids_BT: Tensor, targets_BT: Tensor, starts_BT: Tensor, parts: Parts = PLAIN, dropout: float = 0.0
    ) -> Tensor:
        """Sum of the losses in nats over all targets that are not negative; a scalar in fp32.

        `starts_BT` is True where a document begins.
        `parts` and `dropout` are as for `hidden`.
        """
        documents = starts_BT.cumsum(dim=1, dtype=torch.int32)
        hidden = self.hidden(ids_BT, documents, parts=parts, dropout=dropout)
        return parts.loss(hidden.flatten(0, 1), self._head_VD, targets_BT.flatten())
