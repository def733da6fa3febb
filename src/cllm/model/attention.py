"""Causal softmax attention within documents, with its backward pass written out.

A token sees what is less than `reach` before it in its own document, itself included. What nobody sees is not computed:
where the reach is short, equal blocks of rows see themselves and the block before; else rows are taken a few at a time,
each with the keys from the beginning of their document on. Scores and probabilities are kept in the dtype of the
queries (of bf16: half of the memory traffic; the softmax itself is in fp32). That beats torch's flash kernel and the
compiled form of the plain formula, and nothing of it has to be compiled (docs/speed.md).

Shapes: B windows, T new tokens, S tokens in all, K key-value heads, G query heads for each of them, W head width. In a
product the queries of a group are rows beside each other, so keys and values are never repeated.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 128  # that are computed at a time
GRAIN = 128  # keys are left out in such steps, so that there are few different shapes


class Rows(NamedTuple):
    """Queries [first, last) of the new tokens, and the keys [start, stop) of all that they see, but for a mask."""

    first: int
    last: int
    start: int
    stop: int
    mask: Tensor | None  # (1 or B K, G rows, keys), added to the scores: 0 or -inf; None: everything is seen


class View(NamedTuple):
    """Who sees whom, by `rows`, or in equal blocks of `block` tokens, each with the block before it."""

    rows: tuple[Rows, ...] = ()
    block: int = 0
    mask: Tensor | None = None  # of all blocks: (K blocks or B K blocks, G block, 2 block)


def in_blocks(length: int, before: int, reach: int) -> bool:
    """Whether attention can be computed in equal blocks of `reach` tokens, each with the block before it."""
    return before == 0 and length > reach and length % reach == 0


def view_of(
    documents_BS: Tensor | None, length: int, before: int, reach: int, heads: tuple[int, int], dtype: torch.dtype
) -> View:
    """What `length` tokens after `before` others see; `heads` are K and G.

    `documents_BS` numbers the documents of all tokens, ascending; None says that there is one.
    """
    starts_BS = None if documents_BS is None else _starts(documents_BS)
    if in_blocks(length, before, reach):
        return View(block=reach, mask=_mask_of_blocks(starts_BS, length, reach, heads, dtype))
    cuts = [(first, min(length, first + ROWS)) for first in range(0, length, ROWS)]
    return View(tuple(_rows(starts_BS, first, last, before, reach, heads, dtype) for first, last in cuts))


def _starts(documents_BS: Tensor) -> Tensor:
    """(B, S): for each token the place where its document begins."""
    S = documents_BS.shape[1]
    begins = F.pad(documents_BS[:, 1:] != documents_BS[:, :-1], (1, 0))
    return torch.where(begins, torch.arange(S), 0).cummax(dim=1).values


def _rows(
    starts_BS: Tensor | None, first: int, last: int, before: int, reach: int, heads: tuple[int, int], dtype: torch.dtype
) -> Rows:
    kv_heads, group = heads
    start, stop = max(0, before + first + 1 - reach), before + last
    starts_BR = None if starts_BS is None else starts_BS[:, before + first : stop]
    if starts_BR is not None:
        start = max(start, int(starts_BR.min()) // GRAIN * GRAIN)
    mask = _causal(last - first, stop - start, reach, group, dtype) if last - first > 1 else None
    if starts_BR is not None and int(starts_BR.max()) > start:
        unseen = (starts_BR[:, :, None] > torch.arange(start, stop)).repeat(1, group, 1)
        mask = torch.zeros(unseen.shape, dtype=dtype) if mask is None else mask.expand(unseen.shape)
        mask = mask.masked_fill(unseen, -math.inf)
        if len(mask) > 1:
            mask = mask.repeat_interleave(kv_heads, dim=0)
    return Rows(first, last, start, stop, mask)


@functools.lru_cache(maxsize=64)
def _causal(rows: int, keys: int, reach: int, group: int, dtype: torch.dtype) -> Tensor:
    """(1, group rows, keys) for rows that are the last of the keys: 0 where one sees a key, else -inf."""
    distance = torch.arange(keys - rows, keys)[:, None] - torch.arange(keys)
    mask = torch.zeros(rows, keys, dtype=dtype).masked_fill_((distance < 0) | (distance >= reach), -math.inf)
    return mask.repeat(group, 1)[None]


def _mask_of_blocks(
    starts_BS: Tensor | None, length: int, reach: int, heads: tuple[int, int], dtype: torch.dtype
) -> Tensor:
    kv_heads, group = heads
    blocks = length // reach
    if starts_BS is None:
        starts_BS = torch.zeros(1, length, dtype=torch.int64)
    starts = starts_BS.view(-1, blocks, reach, 1)
    keys = torch.arange(-reach, reach) + torch.arange(0, length, reach)[:, None, None]  # before 0: none
    unseen = (starts > keys).repeat(1, 1, group, 1)  # (B, blocks, G reach, 2 reach)
    mask = _causal(reach, 2 * reach, reach, group, dtype).expand(unseen.shape).masked_fill(unseen, -math.inf)
    return mask.repeat_interleave(kv_heads, dim=0).flatten(0, 1)


def attend(q_BTHW: Tensor, k_BSKW: Tensor, v_BSKW: Tensor, view: View) -> Tensor:
    """(B, T, H, W): for each query the values that it sees, by the softmax of its scores."""
    B, T, H, W = q_BTHW.shape
    K, G = k_BSKW.shape[2], H // k_BSKW.shape[2]
    q, k, v = q_BTHW.view(B, T, K, G, W).permute(0, 2, 3, 1, 4), k_BSKW.transpose(1, 2), v_BSKW.transpose(1, 2)
    if T == 1:  # decoding
        (rows,) = view.rows
        scores = q[:, :, :, 0] @ k[:, :, rows.start :].transpose(2, 3) * W**-0.5
        if rows.mask is not None:
            scores = scores + rows.mask.unflatten(0, (-1, K if len(rows.mask) > 1 else 1))
        seen: Tensor = scores.softmax(dim=-1) @ v[:, :, rows.start :]
        return seen.view(B, 1, H, W)
    attention: Any = _ByBlocks if view.block else _ByRows
    out: Tensor = attention.apply(q, k, v, view)
    return out.permute(0, 3, 1, 2, 4).reshape(B, T, H, W)


def _forward(q_NRW: Tensor, k_NSW: Tensor, v_NSW: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """What rows see (N, R, W), and the probabilities (N, R, S) of it."""
    scale, k_NWS = q_NRW.shape[-1] ** -0.5, k_NSW.transpose(1, 2)
    scores = torch.bmm(q_NRW, k_NWS) * scale if mask is None else torch.baddbmm(mask, q_NRW, k_NWS, alpha=scale)
    p_NRS = scores.softmax(dim=-1)
    return torch.bmm(p_NRS, v_NSW), p_NRS


def _backward(
    out_NRW: Tensor, q_NRW: Tensor, k_NSW: Tensor, v_NSW: Tensor, p_NRS: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values from that of what the rows saw."""
    v_grad = torch.bmm(p_NRS.transpose(1, 2), out_NRW)
    p_grad = torch.bmm(out_NRW, v_NSW.transpose(1, 2))
    scores = torch.ops.aten._softmax_backward_data(p_grad, p_NRS, -1, p_NRS.dtype)
    scale = q_NRW.shape[-1] ** -0.5
    return torch.bmm(scores, k_NSW).mul_(scale), torch.bmm(scores.transpose(1, 2), q_NRW).mul_(scale), v_grad


class _ByRows(torch.autograd.Function):
    """q: (B, K, G, T, W); k, v: (B, K, S, W)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        B, K, G, T, W = q.shape
        keys, values = k.reshape(B * K, -1, W), v.reshape(B * K, -1, W)
        out, kept = q.new_empty(B, K, G, T, W), []
        for first, last, start, stop, mask in view.rows:
            rows = q[:, :, :, first:last].reshape(B * K, -1, W)
            seen, p = _forward(rows, keys[:, start:stop], values[:, start:stop], mask)
            out[:, :, :, first:last] = seen.view(B, K, G, -1, W)
            kept.append(p)
        ctx.save_for_backward(q, keys, values, *kept)
        ctx.rows = view.rows
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (out,) = grads
        q, keys, values, *kept = ctx.saved_tensors
        B, K, G, T, W = q.shape
        q_grad = q.new_empty(B, K, G, T, W)
        exact = torch.promote_types(q.dtype, torch.float32)
        k_grad, v_grad = (torch.zeros_like(x, dtype=exact) for x in (keys, values))
        for (first, last, start, stop, _), p in zip(ctx.rows, kept, strict=True):
            rows, seen = (x[:, :, :, first:last].reshape(B * K, -1, W) for x in (q, out))
            dq, dk, dv = _backward(seen, rows, keys[:, start:stop], values[:, start:stop], p)
            q_grad[:, :, :, first:last] = dq.view(B, K, G, -1, W)
            k_grad[:, start:stop] += dk
            v_grad[:, start:stop] += dv
        return q_grad, k_grad.to(q.dtype).view(B, K, -1, W), v_grad.to(q.dtype).view(B, K, -1, W), None


class _ByBlocks(torch.autograd.Function):
    """q: (B, K, G, T, W); k, v: (B, K, T, W)."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, view: View) -> Tensor:
        rows, keys, values = _rows_of_blocks(q, view.block), _with_before(k, view.block), _with_before(v, view.block)
        assert view.mask is not None
        seen, p = _forward(rows, keys, values, view.mask.repeat(len(rows) // len(view.mask), 1, 1))
        ctx.save_for_backward(rows, keys, values, p)
        ctx.shape, ctx.block = q.shape, view.block
        return _from_blocks(seen, q.shape, view.block)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        rows, keys, values, p = ctx.saved_tensors
        q_grad, k_grad, v_grad = _backward(_rows_of_blocks(grads[0], ctx.block), rows, keys, values, p)
        B, K = ctx.shape[:2]
        k_grad, v_grad = (_without_before(x.view(B, K, -1, 2 * ctx.block, x.shape[-1])) for x in (k_grad, v_grad))
        return _from_blocks(q_grad, ctx.shape, ctx.block), k_grad, v_grad, None


def _rows_of_blocks(x: Tensor, block: int) -> Tensor:
    """(B, K, G, T, W) as (B K blocks, G block, W)."""
    B, K, G, T, W = x.shape
    return x.view(B, K, G, T // block, block, W).transpose(2, 3).reshape(-1, G * block, W)


def _from_blocks(x: Tensor, shape: tuple[int, ...], block: int) -> Tensor:
    """The way back, to `shape`."""
    B, K, G, _T, W = shape
    return x.reshape(B, K, -1, G, block, W).transpose(2, 3).reshape(shape)


def _with_before(x: Tensor, block: int) -> Tensor:
    """(B, K, T, W) in blocks, each behind the one before it: (B K blocks, 2 block, W). Before the first are zeros."""
    B, K, T, W = x.shape
    blocks, out = x.unflatten(2, (-1, block)), x.new_empty(B, K, T // block, 2 * block, W)
    out[:, :, :, block:] = blocks
    out[:, :, 1:, :block] = blocks[:, :, :-1]
    out[:, :, 0, :block] = 0
    return out.view(-1, 2 * block, W)


def _without_before(x: Tensor) -> Tensor:
    """Gradients (B, K, blocks, 2 block, W) of blocks and of those before them as (B, K, T, W)."""
    block = x.shape[3] // 2
    out = x[:, :, :, block:].clone()
    out[:, :, :-1] += x[:, :, 1:, :block]
    return out.flatten(2, 3)
