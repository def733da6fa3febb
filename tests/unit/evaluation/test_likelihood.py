"""Bits per byte of models whose likelihood is known, and windows that score each token once."""

from __future__ import annotations

import math

import pytest
import torch

from cllm.evaluation.likelihood import Likelihood, Tokens, bits_per_byte, likelihoods, windows
from cllm.model.config import config_for
from cllm.model.transformer import Transformer
from tests.memorised import TEXT, memorised, random_model


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary() -> None:
    model = Transformer(config_for("nano", 512, 32))
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    found = bits_per_byte(model.eval(), [Tokens(range(100), 50), Tokens([7], 1)], 0)
    assert found.nats == pytest.approx(101 * math.log(512))
    assert found.bits_per_byte == pytest.approx(101 * 9 / 51)
    assert found.nats_per_token == pytest.approx(math.log(512))


def test_a_text_known_by_heart_costs_next_to_nothing_and_another_text_does_not() -> None:
    loaded = memorised()

    def bits(text: str) -> float:
        tokens = Tokens(loaded.tokenizer.encode(text), len(text.encode()))
        return bits_per_byte(loaded.model, [tokens], loaded.tokenizer.end_of_text).bits_per_byte

    assert bits(TEXT) < 0.2
    assert bits(TEXT[::-1]) > 3


@pytest.mark.parametrize(
    ("tokens", "context"), [(1, 8), (7, 8), (8, 8), (9, 8), (12, 8), (100, 8), (100, 7), (10, 1), (5, 2)]
)
def test_windows_score_every_token_once_with_half_a_context_before_it(tokens: int, context: int) -> None:
    scored = []
    for window in windows(0, tokens, context):
        assert 0 <= window.first <= window.scored < window.first + window.length <= tokens
        assert window.length <= context
        scored += range(window.scored, window.first + window.length)
        assert window.scored == 0 or window.scored - window.first + 1 >= context / 2
    assert scored == list(range(tokens))


def test_documents_know_nothing_of_each_other_and_keep_their_order() -> None:
    model = random_model(context=16)
    documents = [Tokens([5 + i % 290 for i in range(n * 7, n * 7 + n)], n) for n in (40, 3, 16, 1, 40)]
    together = likelihoods(model, documents, 0)
    alone = [likelihoods(model, [d], 0)[0] for d in documents]
    for a, b in zip(together, alone, strict=True):
        assert (a.tokens, a.bytes) == (b.tokens, b.bytes)
        assert a.nats == pytest.approx(b.nats, rel=1e-5)


def test_batch_workers_and_the_size_of_logit_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(context=16)
    documents = [Tokens([(i * i + n) % 300 for i in range(n)], n) for n in (100, 33, 5)]
    calls: list[tuple[int, int]] = []
    reference = bits_per_byte(model, documents, 0).nats
    assert bits_per_byte(model, documents, 0, batch=1).nats == pytest.approx(reference, rel=1e-5)
    several = likelihoods(
        model, documents, 0, batch=2, workers=2, progress=lambda done, total: calls.append((done, total))
    )
    assert sum(part.nats for part in several) == pytest.approx(reference, rel=1e-5)
    assert calls[-1] == (138, 138)
    monkeypatch.setattr("cllm.evaluation.likelihood.LOGIT_ELEMENTS", 900)
    assert bits_per_byte(model, documents, 0).nats == pytest.approx(reference, rel=1e-5)


def test_more_context_is_used_when_it_is_given() -> None:
    loaded = memorised()
    tokens = Tokens(loaded.tokenizer.encode(TEXT), len(TEXT.encode()))
    short = bits_per_byte(loaded.model, [tokens], loaded.tokenizer.end_of_text, context=2)
    assert short.tokens == len(tokens.ids)
    assert short.nats > 5 * bits_per_byte(loaded.model, [tokens], loaded.tokenizer.end_of_text).nats


def test_an_empty_document_costs_nothing() -> None:
    assert likelihoods(random_model(16), [Tokens([], 0), Tokens([3], 1)], 0)[0] == Likelihood(0.0, 0, 0)
