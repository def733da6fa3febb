"""Attention, forwards and backwards, gives what the plain formula gives, however it is cut up."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cllm.model.attention import GRAIN, ROWS, attend, in_blocks, view_of

FAR = 10_000


def plain(q: Tensor, k: Tensor, v: Tensor, documents: Tensor | None, before: int, reach: int) -> Tensor:
    """(B, T, H, W) by the formula, all at once."""
    group = q.shape[2] // k.shape[2]
    k, v = (x.repeat_interleave(group, 2) for x in (k, v))
    scores = torch.einsum("bthw,bshw->bhts", q, k) * q.shape[3] ** -0.5
    distance = torch.arange(before, before + q.shape[1])[:, None] - torch.arange(k.shape[1])
    unseen = ((distance < 0) | (distance >= reach)).expand(len(q), -1, -1)
    if documents is not None:
        unseen = unseen | (documents[:, before:, None] != documents[:, None])
    weights = scores.masked_fill(unseen[:, None], -math.inf).softmax(-1)
    return torch.einsum("bhts,bshw->bthw", weights, v)


def tensors(windows: int, tokens: int, before: int, heads: tuple[int, int], seed: int) -> list[Tensor]:
    """q, k, v in fp64."""
    generator = torch.Generator().manual_seed(seed)
    counts = (tokens, heads[0] * heads[1]), (tokens + before, heads[0]), (tokens + before, heads[0])
    return [
        torch.randn(windows, n, h, 16, dtype=torch.float64, generator=generator, requires_grad=True) for n, h in counts
    ]


def documents_of(windows: int, tokens: int, begins: float) -> Tensor:
    """Numbers of random documents, of which about so many begin at each token."""
    generator = torch.Generator().manual_seed(9)
    return (torch.rand(windows, tokens, generator=generator) < begins).cumsum(dim=1, dtype=torch.int32)


@pytest.mark.parametrize("begins", [None, 0.003, 0.05])  # one document; a few; many
@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("heads", [(1, 2), (2, 2), (3, 1)])
@pytest.mark.parametrize("reach", [32, ROWS, ROWS + 30, FAR])
@pytest.mark.parametrize(("tokens", "before"), [(1, 300), (5, 0), (ROWS + 70, 77), (4 * ROWS, 0), (3 * ROWS + 11, 0)])
def test_it_is_the_plain_formula(
    tokens: int, before: int, reach: int, heads: tuple[int, int], windows: int, begins: float | None
) -> None:
    documents = None if begins is None else documents_of(windows, before + tokens, begins)
    given = tensors(windows, tokens, before, heads, seed=1)
    wanted = plain(*given, documents, before, reach)
    found = attend(*given, view_of(documents, tokens, before, reach, heads, torch.float64))
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad((found * weights).sum(), given),
        torch.autograd.grad((wanted * weights).sum(), given),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_in_bf16_it_is_as_exact_as_bf16() -> None:
    given = [x.detach().bfloat16() for x in tensors(1, 4 * ROWS, 0, (1, 2), seed=2)]
    found = attend(*given, view_of(None, 4 * ROWS, 0, FAR, (1, 2), torch.bfloat16))
    wanted = plain(*(x.double() for x in given), None, 0, FAR)
    assert (found.double() - wanted).abs().max() < 0.03
    assert (found.double() - wanted).mean().abs() < 1e-3


def test_what_nobody_sees_is_not_computed() -> None:
    heads, length = (1, 2), 8 * ROWS
    documents = torch.zeros(1, length, dtype=torch.int32)
    documents[:, 5 * ROWS + 3 :] = 1
    rows = view_of(documents, length, 0, FAR, heads, torch.float32).rows
    assert [(r.start, r.stop) for r in rows[:2]] == [(0, ROWS), (0, 2 * ROWS)]
    assert rows[5].start == 0  # its first three are of the document before
    assert all(r.start == (5 * ROWS + 3) // GRAIN * GRAIN for r in rows[6:])
    near = view_of(None, 300, 0, ROWS, heads, torch.float32).rows
    assert [r.start for r in near] == [0, 1, ROWS + 1]


def test_blocks_where_the_window_is_made_of_them() -> None:
    assert in_blocks(4 * ROWS, 0, ROWS)
    assert not in_blocks(4 * ROWS, 1, ROWS)
    assert not in_blocks(4 * ROWS + 1, 0, ROWS)
    assert not in_blocks(ROWS, 0, ROWS)
    assert view_of(None, 4 * ROWS, 0, ROWS, (1, 2), torch.float32).block == ROWS
