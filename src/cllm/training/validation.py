"""The held-out loss that decides which model is best: bits per byte and nats per token over fixed windows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist

from cllm.heldout import HeldOutWindows
from cllm.model.transformer import Transformer
from cllm.order import NO_TARGET
from cllm.tokenizer import Tokenizer
from cllm.training.shards import Split

TOKENS_AT_A_TIME = 2048


@dataclass(frozen=True)
class Score:
    """Held-out figures of one validation."""

    loss: float  # nats per token
    bits_per_byte: float
    tokens: int
    bytes: int


def chosen_of(count: int, wanted: int) -> list[int]:
    """About `wanted` of `count` windows, evenly spaced: all, every second, fourth, eighth ...

    So runs that can afford nearly the same number score the same windows, and can be compared.
    """
    every = 2 ** max(0, round(math.log2(max(1, count) / max(1, wanted))))
    return list(range(0, count, every))


class Validator:
    """Scores a fixed, evenly spaced choice of windows of the validation split, shared out over the ranks.

    The same windows each time, and the sums are added in one order: the figure is the same for any number of ranks.
    """

    def __init__(
        self, split: Split, tokenizer: Tokenizer, context: int, most_tokens: int, rank: int, ranks: int
    ) -> None:
        windows = HeldOutWindows(split.tokens, split.offsets, 0, context, tokenizer.end_of_text)
        self._windows = windows
        self._places = chosen_of(windows.count, most_tokens // context) if windows.tokens else []
        self._at_a_time = max(1, TOKENS_AT_A_TIME // context)
        self._rank, self._ranks = rank, ranks
        self._bytes_of = np.array([len(tokenizer.token_bytes(t)) for t in range(tokenizer.vocabulary)], dtype=np.int64)

    @property
    def windows(self) -> int:
        """How many windows there are to score."""
        return len(self._places)

    @torch.no_grad()
    def score(self, model: Transformer, windows: int | None = None) -> Score | None:
        """The figures of `model`; None where nothing is held out. A collective call: every rank makes it.

        With `windows`, at most about so many are scored, evenly spaced among all.
        """
        places = self._places[:: max(1, len(self._places) // (windows or len(self._places) or 1))]
        if not places:
            return None
        batches = [places[i : i + self._at_a_time] for i in range(0, len(places), self._at_a_time)]
        sums = torch.zeros(len(batches), 3, dtype=torch.float64)
        for number in range(self._rank, len(batches), self._ranks):
            parts = [self._windows.batch(place, 1) for place in batches[number]]
            inputs, targets, starts = (
                torch.from_numpy(np.concatenate([getattr(p, name) for p in parts]))
                for name in ("inputs", "targets", "starts")
            )
            scored = targets[targets != NO_TARGET].numpy()
            sums[number, 0] = model(inputs, targets, starts).double()
            sums[number, 1] = len(scored)
            sums[number, 2] = int(self._bytes_of[scored].sum())
        if self._ranks > 1:
            dist.all_reduce(sums)  # each row is zero but on one rank: exact in any order
        nats, tokens, size = (float(v) for v in sums.sum(dim=0))
        return Score(nats / tokens, nats / math.log(2) / size, int(tokens), int(size))
