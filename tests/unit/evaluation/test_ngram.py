"""The n-gram against the definition, written with dictionaries."""

from __future__ import annotations

import math
import random
import time
from collections import Counter, defaultdict

import numpy as np
import pytest

from cllm.evaluation.ngram import NGram

EOT = 0


def discounts(counts: list[int]) -> list[float]:
    n = Counter(counts)
    if not (n[1] and n[2] and n[3]):
        return [0, 0.5, 1.0, 1.5]
    y = n[1] / (n[1] + 2 * n[2])
    taken = [r - (r + 1) * y * n[r + 1] / n[r] for r in (1, 2, 3)]
    return [0, *taken] if min(taken) > 0 else [0, 0.5, 1.0, 1.5]


class Naive:
    """Interpolated modified Kneser-Ney as Chen & Goodman write it: one dictionary per order."""

    def __init__(self, documents: list[list[int]], vocabulary: int, order: int) -> None:
        self.vocabulary, self.order = vocabulary, order
        grams: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        for document in documents:
            sentence = [EOT, *document, EOT]
            for i in range(1, len(sentence)):
                for n in range(1, order + 1):
                    if i - n + 1 >= 0:
                        grams[n][tuple(sentence[i - n + 1 : i + 1]), i - n + 1 == 0] += 1  # type: ignore[index]
        self.counts: dict[int, Counter[tuple[int, ...]]] = {}
        for n in range(1, order + 1):
            counts: Counter[tuple[int, ...]] = Counter()
            for (gram, opens), seen in grams[n].items():  # type: ignore[misc]
                if n == order or opens:
                    counts[gram] += seen
            if n < order:
                for gram, _ in grams[n + 1]:  # type: ignore[misc]
                    counts[gram[1:]] += 1
            self.counts[n] = counts
        self.discounts = {n: discounts(list(c.values())) for n, c in self.counts.items()}

    def probability(self, token: int, history: tuple[int, ...]) -> float:
        p = 1 / self.vocabulary
        for n in range(1, min(self.order, len(history) + 1) + 1):
            context = history[len(history) - n + 1 :]
            followers = {gram[-1]: c for gram, c in self.counts[n].items() if gram[:-1] == context}
            total = sum(followers.values())
            if total == 0:
                break
            d = self.discounts[n]
            left = sum(d[min(c, 3)] for c in followers.values())
            seen = followers.get(token, 0)
            p = (seen - d[min(seen, 3)]) / total + left / total * p
        return p


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_probabilities_are_those_of_the_definition(order: int, seed: int) -> None:
    draw = random.Random(seed)
    documents = [[min(draw.randrange(1, 9), draw.randrange(1, 9)) for _ in range(draw.randrange(40))] for _ in range(6)]
    held_out = [[draw.randrange(9) for _ in range(12)], documents[0], []]
    naive = Naive(documents, 9, order)
    found = NGram.train(documents, 9, EOT, order).probabilities(held_out)
    for document, row in zip(held_out, found, strict=True):
        sentence = (EOT, *document)
        expected = [naive.probability(token, sentence[: i + 1]) for i, token in enumerate(document)]
        assert row.tolist() == pytest.approx(expected, rel=1e-9)


def test_it_learns_what_repeats() -> None:
    model = NGram.train([[1, 2, 3, 4] * 50], 100, EOT)
    assert model.nats([[1, 2, 3, 4] * 5]) / 20 < 0.2
    assert model.nats([[4, 3, 2, 1] * 5]) / 20 > 2
    assert model.order == 5
    assert model.tokens == 201


def test_no_more_documents_are_read_than_allowed() -> None:
    assert NGram.train(([5] * 10 for _ in range(100)), 10, EOT, max_tokens=25).tokens == 33


def test_two_hundred_thousand_tokens_take_a_moment() -> None:
    draw = np.random.default_rng(0)
    documents = [(draw.zipf(1.3, 2000) % 4000).tolist() for _ in range(100)]
    begin = time.process_time()
    model = NGram.train(documents[:90], 4096, EOT)
    nats = model.nats(documents[90:])
    assert time.process_time() - begin < 5
    assert nats / 20_000 < math.log(4096)
