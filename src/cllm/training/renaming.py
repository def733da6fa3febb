"""Names exchanged at random in what is trained on: a text with other names is another text, of the same sense.

In some microbatches a random part of the vocabulary's words is permuted, in inputs and targets alike, so that each name
is everywhere replaced by the same other one. What is learnt by heart of the files is then of little use, and what they
have in common with any code is left: layout, syntax, and that names come again. It is a regulariser for data that are
passed through many times (docs/recipe.md). Of a kind with names replaced by numbered ones (Chirkova & Troshin 2021, "A
simple approach for handling out-of-vocabulary identifiers in deep learning for source code").
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cllm.order import NO_TARGET, Batch
from cllm.tokenizer import Tokenizer

RENAMED = 0.5  # share of the microbatches in which names are exchanged
# Exchanged among themselves: words of small letters, of capitals, and of both, with a space before them or without.
LETTERS = (rb"(?=.*[a-z])[a-z_]{2,}", rb"(?=.*[A-Z])[A-Z_]{2,}", rb"(?=.*[A-Z])(?=.*[a-z])[A-Za-z_]{2,}")
KINDS = tuple(re.compile(space + letters) for space in (rb"", rb" ") for letters in LETTERS)


class Renaming:
    """The exchange of names in each microbatch: a pure function of the seed and the microbatch's number."""

    def __init__(self, tokenizer: Tokenizer, share: float, seed: int) -> None:
        """`share` of the words, 0..1, take part in an exchange."""
        self._share, self._seed, self._vocabulary = share, seed, tokenizer.vocabulary
        texts = [tokenizer.token_bytes(token) for token in range(tokenizer.vocabulary)]
        self._words = [np.array([i for i, text in enumerate(texts) if kind.fullmatch(text)], int) for kind in KINDS]

    def table(self, number: int) -> NDArray[np.int64] | None:
        """(V + 1,) what each token becomes in microbatch `number`; at the end `NO_TARGET`. None: nothing changes."""
        if not self._share:
            return None
        random = np.random.Philox(key=np.array([self._seed | 1 << 32, number], dtype=np.uint64)).random_raw
        if random(1)[0] >= RENAMED * 2**64:
            return None
        table = np.append(np.arange(self._vocabulary), NO_TARGET)
        for words in self._words:
            chosen = words[random(len(words)) < self._share * 2.0**64]
            table[chosen] = chosen[np.argsort(random(len(chosen)), kind="stable")]
        return table

    def apply(self, batch: Batch, number: int) -> Batch:
        """`batch` with the names of microbatch `number`."""
        table = self.table(number)
        if table is None:
            return batch
        return replace(batch, inputs=table[batch.inputs], targets=table[batch.targets])
