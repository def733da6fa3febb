"""A token n-gram model as a baseline: interpolated modified Kneser-Ney (Chen & Goodman 1999), static and normalised.

The counting follows KenLM (Heafield et al. 2013): the highest order counts occurrences, lower orders count the distinct
tokens seen before an n-gram, except that n-grams that begin a document count occurrences, since nothing precedes
them. Order 0 is uniform over the whole vocabulary, so that every token has a probability and all of them sum to 1.

An n-gram is known by a number: the number of its first n - 1 tokens times the vocabulary plus its last token gives
a key, and its place among the sorted distinct keys of its order is its number. So any order fits 64 bits, and counting
and looking up are sorting and searching of arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ORDER = 5
MAX_TOKENS = 8_000_000  # about 1 GB of arrays while it counts


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order, by number, and their contexts, by the number of the n-gram one shorter."""

    keys: Ints  # sorted
    discounted: Floats  # (count - discount) / (total of the context), for each n-gram
    backoff: Floats  # mass left for the next lower order, for each context; 1 where nothing was seen

    def find(self, keys: Ints) -> Ints:
        """The numbers of n-grams by their keys; -1 where there is none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)


def _join(documents: Iterable[Sequence[int]], end_of_text: int, limit: int | None = None) -> tuple[Ints, Ints]:
    """One stream "EOT document EOT document ... EOT", and for each place how many places of its document precede it.

    The first place has none before it; an end-of-text later on belongs to the document that it ends. No document is
    added once the tokens pass `limit`.
    """
    end = np.array([end_of_text])
    parts: list[Ints] = [end]
    total = 0
    for document in documents:
        if limit is not None and total >= limit:
            break
        parts += (np.asarray(document, dtype=np.int64), end)
        total += len(document)
    lengths = [len(part) + 1 for part in parts[1::2]]
    before = [np.arange(1, length + 1) for length in lengths]
    return np.concatenate(parts), np.concatenate([np.zeros(1, dtype=np.int64), *before])


def _discounts(counts: Ints) -> Floats:
    """What is taken from counts of 0, 1, 2, and 3 or more (Chen & Goodman, equation 26).

    Where the counts of counts of a tiny corpus give none, the fallback of KenLM; so every context leaves some mass.
    """
    n1, n2, n3, n4 = (int((counts == r).sum()) for r in (1, 2, 3, 4))
    if n1 and n2 and n3:
        y = n1 / (n1 + 2 * n2)
        taken = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        if (taken[1:] > 0).all():
            return taken
    return np.array([0.0, 0.5, 1.0, 1.5])


def _weigh(keys: Ints, counts: Ints, contexts: int, vocabulary: int) -> _Order:
    """An order from the (adjusted) counts of its n-grams."""
    context = keys // vocabulary
    taken = _discounts(counts)[counts.clip(max=3)]
    total = np.bincount(context, weights=counts, minlength=contexts)
    left = np.bincount(context, weights=taken, minlength=contexts)
    backoff = np.divide(left, total, out=np.ones(contexts), where=total > 0)
    return _Order(keys, (counts - taken) / total[context], backoff)


class NGram:
    """A trained model."""

    def __init__(self, orders: list[_Order], vocabulary: int, end_of_text: int, tokens: int) -> None:
        self._orders = orders
        self._vocabulary = vocabulary
        self._end_of_text = end_of_text
        self.order = len(orders)
        self.tokens = tokens  # that it was trained on, ends of documents among them

    @classmethod
    def train(
        cls,
        documents: Iterable[Sequence[int]],
        vocabulary: int,
        end_of_text: int,
        order: int = ORDER,
        max_tokens: int | None = MAX_TOKENS,
    ) -> NGram:
        """Count `documents` (token ids without end-of-text), until `max_tokens` are passed.

        The end of a document is an event like any other, as it is for the network.
        """
        stream, before = _join(documents, end_of_text, max_tokens)
        orders: list[_Order] = []
        shorter = np.zeros(len(stream), dtype=np.int64)  # number of the (n - 1)-gram that ends at each place
        waiting: tuple[Ints, Ints, int] | None = (
            None  # keys, occurrences where they count, contexts: of the order below
        )
        contexts = 1
        for n in range(1, order + 1):
            where = np.flatnonzero(before >= max(1, n - 1))  # elsewhere the n-gram would cross into another document
            keys, first, numbers, counts = np.unique(
                shorter[where - 1] * vocabulary + stream[where],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if waiting is not None:
                below, openings, outer = waiting
                preceded = np.bincount(shorter[where[first]], minlength=len(below))
                orders.append(_weigh(below, preceded + openings, outer, vocabulary))
            opens = before[where[first]] == n - 1
            waiting = keys, counts if n == order else np.where(opens, counts, 0), contexts
            shorter = np.full(len(stream), -1)
            shorter[where] = numbers
            if n == 1:  # the first end-of-text is a context too, though it is never predicted
                shorter[0] = numbers[-1]
            contexts = len(keys)
        assert waiting is not None
        orders.append(_weigh(*waiting, vocabulary))
        return cls(orders, vocabulary, end_of_text, len(stream) - 1)

    def probabilities(self, documents: Sequence[Sequence[int]]) -> list[Floats]:
        """The probability of every token of every document, given those before it in the document."""
        stream, before = _join(documents, self._end_of_text)
        p = np.full(len(stream), 1 / self._vocabulary)
        shorter = np.zeros(len(stream), dtype=np.int64)
        for n, order in enumerate(self._orders, 1):
            where = np.flatnonzero(before >= max(1, n - 1))
            context = shorter[where - 1]
            where, context = where[context >= 0], context[context >= 0]
            numbers = order.find(context * self._vocabulary + stream[where])
            p[where] *= order.backoff[context]
            p[where[numbers >= 0]] += order.discounted[numbers[numbers >= 0]]
            shorter = np.full(len(stream), -1)
            shorter[where] = numbers
            if n == 1:
                shorter[0] = order.find(stream[:1])[0]
        ends = np.cumsum([len(d) + 1 for d in documents])
        return [p[end - len(d) : end] for end, d in zip(ends, documents, strict=True)]

    def nats(self, documents: Sequence[Sequence[int]]) -> float:
        """Negative log-likelihood of all tokens of `documents`, ends not counted."""
        return -sum(float(np.log(p).sum()) for p in self.probabilities(documents))
