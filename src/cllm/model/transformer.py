"""The decoder: a Qwen3-layout transformer that computes logits and losses, and nothing else.

Shapes are in the names: B windows, T tokens, D width, H heads, K key-value heads, W head width, F feed-forward
width, V vocabulary, S tokens in the cache. Weights are kept in fp32 and cast to the dtype of the activations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cllm.model.config import ModelConfig

ROWS = 256  # of a window whose attention is computed at a time
Kept = tuple[Tensor, Tensor, int]  # keys and values of a layer in a `KVCache`, and how many tokens they are of


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


class Rows(NamedTuple):
    """Queries [first, last) of the new tokens, and the keys [start, stop) of all tokens that any of them can see."""

    first: int
    last: int
    start: int
    stop: int


def rows_of(length: int, before: int, reach: int) -> list[Rows]:
    """`length` tokens after `before` others, cut by `ROWS`; each sees `reach` tokens, itself included."""
    cuts = zip(range(0, length, ROWS), [*range(ROWS, length, ROWS), length], strict=True)
    return [Rows(i, j, max(0, before + i + 1 - reach), before + j) for i, j in cuts]


def in_blocks(length: int, before: int, reach: int) -> bool:
    """Whether a layer can compute its attention in equal blocks of `reach` tokens, each with the block before it."""
    return before == 0 and length > reach and length % reach == 0


def masks_of(documents_BS: Tensor | None, length: int, before: int, reach: int) -> list[Tensor | None]:
    """For each of `rows_of`, what is added to the scores: -inf where a token cannot look. None where it can everywhere.

    A token sees itself and what is less than `reach` before it in its own document; `documents_BS` numbers the
    documents of all tokens, None says that there is one. Where attention is computed `in_blocks` there is one mask for
    all of them: (B or 1, 1, blocks, reach, 2 reach).
    """
    if in_blocks(length, before, reach):
        return [_mask_of_blocks(documents_BS, length, reach)]
    found: list[Tensor | None] = []
    for first, last, start, stop in rows_of(length, before, reach):
        mask = None
        if length > 1:
            mask = _causal(before + first - start, last - first, stop - start, reach)
        if documents_BS is not None:
            ours, others = documents_BS[:, before + first : before + last, None], documents_BS[:, None, start:stop]
            mask = torch.where(ours == others, torch.zeros(()) if mask is None else mask, -math.inf)[:, None]
        found.append(mask)
    return found


def _mask_of_blocks(documents_BS: Tensor | None, length: int, reach: int) -> Tensor:
    blocks = length // reach
    mask = _causal(reach, reach, 2 * reach, reach).expand(1, blocks, reach, 2 * reach)
    if documents_BS is None:
        documents_BS = torch.zeros(1, length, dtype=torch.int32)
    ours = documents_BS.view(-1, blocks, reach)
    keys = with_block_before(ours[:, :, :, None], -1)[:, :, None, :, 0]  # nothing stands before the first block
    return torch.where(ours[:, :, :, None] == keys, mask, -math.inf)[:, None]


def with_block_before(x: Tensor, fill: int) -> Tensor:
    """Of blocks (..., N, R, W) each with the one before it: (..., N, 2 R, W). Before the first one stands `fill`."""
    return torch.cat((F.pad(x[..., :-1, :, :], (0, 0, 0, 0, 1, 0), value=fill), x), dim=-2)


@functools.lru_cache(maxsize=32)
def _causal(offset: int, rows: int, keys: int, reach: int) -> Tensor:
    """(rows, keys): 0 where row i, which is key i + offset itself, sees a key, else -inf."""
    distance = torch.arange(offset, offset + rows)[:, None] - torch.arange(keys)
    return torch.zeros(rows, keys).masked_fill((distance < 0) | (distance >= reach), -math.inf)


def attend(q_BHTW: Tensor, k_BHSW: Tensor, v_BHSW: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention (B, H, T, W); `mask` is added to the scores. It beats the CPU flash kernel (docs/speed.md)."""
    scores_BHTS = (q_BHTW @ k_BHSW.transpose(-1, -2)).float() * q_BHTW.shape[-1] ** -0.5
    if mask is not None:
        scores_BHTS = scores_BHTS + mask
    out: Tensor = scores_BHTS.softmax(dim=-1).to(v_BHSW.dtype) @ v_BHSW
    return out


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

    def forward(
        self, x_BTD: Tensor, cos: Tensor, sin: Tensor, reach: int, masks: list[Tensor | None], cache: Kept | None
    ) -> Tensor:
        B, T, _ = x_BTD.shape
        before = 0
        q = self.q_norm(self.q_proj(x_BTD).view(B, T, self.heads, self.head_width))
        k = self.k_norm(self.k_proj(x_BTD).view(B, T, self.kv_heads, self.head_width))
        v = self.v_proj(x_BTD).view(B, T, self.kv_heads, self.head_width).transpose(1, 2)
        q, k = rotate(q, cos, sin).transpose(1, 2), rotate(k, cos, sin).transpose(1, 2)
        if cache is not None:
            keys, values, before = cache
            keys[:, :, before : before + T], values[:, :, before : before + T] = k, v
            k, v = keys[:, :, : before + T], values[:, :, : before + T]
        group = self.heads // self.kv_heads
        if T == 1:  # decoding: the queries of a group are rows of one product with their key-value head
            q = q.view(B, self.kv_heads, group, self.head_width)
        elif group > 1:
            k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        if in_blocks(T, before, reach):
            q, k, v = (x.unflatten(2, (-1, reach)) for x in (q, k, v))
            y = attend(q, with_block_before(k, 0), with_block_before(v, 0), masks[0]).flatten(2, 3).transpose(1, 2)
        else:  # rows by rows, each with the keys that they can see: half of the work is left out in a long window
            parts = []
            for (first, last, start, stop), mask in zip(rows_of(T, before, reach), masks, strict=True):
                rows = q if T == 1 else q[:, :, first:last]
                parts.append(attend(rows, k[:, :, start:stop], v[:, :, start:stop], mask))
            y = parts[0] if T == 1 else torch.cat(parts, dim=2).transpose(1, 2)
        out: Tensor = self.o_proj(y.reshape(B, T, self.heads * self.head_width))
        return out


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

    def forward(
        self,
        x_BTD: Tensor,
        cos: Tensor,
        sin: Tensor,
        reach: int,
        masks: list[Tensor | None],
        cache: Kept | None,
        drop: Drop | None = None,
    ) -> Tensor:
        seen = self.self_attn(self.input_layernorm(x_BTD), cos, sin, reach, masks, cache)
        x_BTD = x_BTD + (seen if drop is None else drop(0, seen))
        made = self.mlp(self.post_attention_layernorm(x_BTD))
        return x_BTD + (made if drop is None else drop(1, made))


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


def run_block(block: Block, *arguments: Any) -> Tensor:
    """`block` itself, of its arguments: a function of its own, so that one compiled form of it serves all layers."""
    out: Tensor = block(*arguments)
    return out


def summed_loss(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    """Sum of the losses in nats over all targets that are not negative; fp32."""
    logits_NV = F.linear(hidden_ND, head_VD.to(hidden_ND.dtype)).float()
    return F.cross_entropy(logits_NV, targets_N, ignore_index=-1, reduction="sum")


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
        run: Callable[..., Tensor] = run_block,
        dropout: float = 0.0,
    ) -> Tensor:
        """Activations (B, T, D) after the last norm. With `cache`, tokens follow what is in it, and are added to it.

        `documents_BS` numbers the documents of all tokens, those in the cache included: tokens of others are not seen.
        `run` is `run_block` or its compiled form; `dropout` the share of what each part of a layer adds that is left
        out at random, by torch's generator. Positions beyond the trained context are rotated further, not refused;
        callers that care keep within it.
        """
        T = ids_BT.shape[1]
        start = cache.length if cache is not None else 0
        if start + T > self._angles[0].shape[0]:
            self._angles = rotations(self.config, 2 * (start + T), self.dtype)
        cos, sin = self._angles[0][start : start + T], self._angles[1][start : start + T]
        reaches = self.config.reaches(start + T)
        masks = {reach: masks_of(documents_BS, T, start, reach) for reach in set(reaches)}
        x = self.embed_tokens(ids_BT).to(self.dtype)
        for i, layer in enumerate(self.layers):
            kept = None if cache is None else (cache.keys[i], cache.values[i], start)
            drop = Drop(noise(2, *x.shape), dropout) if dropout else None
            x = run(layer, x, cos, sin, reaches[i], masks[reaches[i]], kept, drop)
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
        self,
        ids_BT: Tensor,
        targets_BT: Tensor,
        starts_BT: Tensor,
        run: Callable[..., Tensor] = run_block,
        loss: Callable[..., Tensor] = summed_loss,
        dropout: float = 0.0,
    ) -> Tensor:
        """Sum of the losses in nats over all targets that are not negative; a scalar in fp32.

        `starts_BT` is True where a document begins.
        `run` and `loss` are `run_block` and `summed_loss`, or their compiled forms; `dropout` is as for `hidden`.
        """
        documents = starts_BT.cumsum(dim=1, dtype=torch.int32)
        hidden = self.hidden(ids_BT, documents, run=run, dropout=dropout)
        return loss(hidden.flatten(0, 1), self._head_VD, targets_BT.flatten())
