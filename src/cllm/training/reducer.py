"""Sums of the K microbatches' gradients over the ranks.

`ExactReducer` adds in the order of a fixed binary tree over the K microbatches, whatever the number of ranks is: each
rank sums the complete subtrees that it owns, and the partial sums are merged in tree order. So the sum has the same
bits for every number of ranks. `FastReducer` is plain all_reduce, to compare with.

The sums are in fp32. A microbatch is an index 0..K-1; `compute(k, out)` adds its gradient into the zeroed `out`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

Compute = Callable[[int, Tensor], None]


def split(low: int, high: int) -> int:
    """Where the tree divides the microbatches low..high-1: the left part is the larger one."""
    return (low + high + 1) // 2


def deal_microbatches(microbatches: int, ranks: int) -> list[range]:
    """Contiguous microbatches for each rank, as even as can be, the first ranks getting one more."""
    share, extra = divmod(microbatches, ranks)
    ends = [0]
    for rank in range(ranks):
        ends.append(ends[-1] + share + (rank < extra))
    return [range(a, b) for a, b in pairwise(ends)]


class Reducer(Protocol):
    """What the trainer needs of a reducer."""

    mine: range

    def reduce(self, compute: Compute) -> Tensor:
        """The sum over all microbatches, the same tensor contents on every rank; valid until the next call."""
        ...


class _Buffers:
    """Flat buffers that are used again: as many as the tree is deep, and no more."""

    def __init__(self, elements: int, device: torch.device) -> None:
        self._elements, self._device = elements, device
        self._free: list[Tensor] = []

    def take(self) -> Tensor:
        return self._free.pop() if self._free else torch.empty(self._elements, device=self._device)

    def give(self, buffer: Tensor) -> None:
        self._free.append(buffer)


class ExactReducer:
    """The fixed tree. `result` is always the same buffer on a rank, so that gradients can be views of it."""

    def __init__(self, microbatches: int, rank: int, ranks: int, result: Tensor) -> None:
        deal = deal_microbatches(microbatches, ranks)
        self.mine = deal[rank]
        self._rank, self._ranks, self._result = rank, ranks, result
        self._microbatches = microbatches
        self._owner = [r for r, mine in enumerate(deal) for _ in mine]
        self._buffers = _Buffers(result.numel(), result.device)

    def reduce(self, compute: Compute) -> Tensor:
        """See `Reducer`."""
        total = self._sum(0, self._microbatches, compute)
        if total is not None:
            self._result.copy_(total)
            self._buffers.give(total)
        if self._ranks > 1:
            dist.broadcast(self._result, src=self._owner[0])
        return self._result

    def _sum(self, low: int, high: int, compute: Compute) -> Tensor | None:
        """The sum of low..high-1 on the rank that owns `low`, None elsewhere; subtrees without ours are skipped."""
        if high <= self.mine.start or low >= self.mine.stop:
            return None
        if high - low == 1:
            out = self._buffers.take().zero_()
            compute(low, out)
            return out
        middle = split(low, high)
        left = self._sum(low, middle, compute)
        right = self._sum(middle, high, compute)
        left_owner, right_owner = self._owner[low], self._owner[middle]
        if left_owner != right_owner:
            if self._rank == left_owner:
                right = self._buffers.take()
                dist.recv(right, src=right_owner)
            elif self._rank == right_owner and right is not None:
                dist.send(right, dst=left_owner)
                self._buffers.give(right)
                return None
        if left is not None and right is not None:
            left += right
            self._buffers.give(right)
        return left


class FastReducer:
    """Each rank adds up its microbatches in one buffer; then all_reduce, in whatever order it likes."""

    def __init__(self, microbatches: int, rank: int, ranks: int, result: Tensor) -> None:
        self.mine = deal_microbatches(microbatches, ranks)[rank]
        self._ranks, self._result = ranks, result

    def reduce(self, compute: Compute) -> Tensor:
        """See `Reducer`."""
        self._result.zero_()
        for k in self.mine:
            compute(k, self._result)
        if self._ranks > 1:
            dist.all_reduce(self._result)
        return self._result
