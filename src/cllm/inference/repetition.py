"""Against loops: a token that would make a completion repeat itself word for word is less likely, the longer the more.

This is DRY, "don't repeat yourself" (p-e-w 2024, in text-generation-webui and llama.cpp). Unlike the penalty of Keskar
et al. it leaves single tokens alone: names and brackets may come again and again, as they do in code. Only what was
generated counts, not the prompt: a completion should be free to repeat the file that it completes.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

ALLOWED = 4  # tokens that may be repeated in a row
BASE = 1.75  # the penalty grows by this factor with each further token
LONGEST = 40  # repetition in tokens, beyond which the penalty does not grow
REACH = 2048  # generated tokens that are looked back at


class Repetitions:
    """The tokens generated so far, and which next ones would repeat a passage of them."""

    def __init__(self, multiplier: float) -> None:
        """`multiplier` is the penalty, subtracted from the score, of the first token that is too many."""
        self._multiplier = multiplier
        self._ids = np.empty(0, dtype=np.int64)
        self._lengths = np.empty(0, dtype=np.int64)  # of the passage ending at each place that is also the end of all

    def add(self, token: int) -> None:
        """Note a generated token."""
        before = np.concatenate(([0], self._lengths))
        self._lengths = np.where(self._ids == token, before[: self._ids.size] + 1, 0)
        self._ids = np.concatenate((self._ids, [token]))[-REACH:]
        self._lengths = np.concatenate((self._lengths, [0]))[-REACH:]  # the last place is no earlier one

    def penalise(self, scores_V: Tensor) -> Tensor:
        """The scores (V,) with those of repetitions made smaller; the same tensor where there is none."""
        places = np.flatnonzero(self._lengths[:-1] >= ALLOWED)
        if not places.size:
            return scores_V
        scores_V = scores_V.clone()
        longest: dict[int, int] = {}
        for token, length in zip(self._ids[places + 1].tolist(), self._lengths[places].tolist(), strict=True):
            longest[token] = max(longest.get(token, 0), length)
        for token, length in longest.items():
            scores_V[token] -= self._multiplier * BASE ** (min(length, LONGEST) - ALLOWED)
        return scores_V
