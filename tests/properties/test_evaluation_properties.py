"""What must hold of the figures for any tokens and any text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.evaluation.completion import edit_similarity, levenshtein
from cllm.evaluation.likelihood import Tokens, likelihoods
from cllm.evaluation.ngram import NGram
from cllm.evaluation.scan import scan
from cllm.evaluation.syntax import verdict
from tests.memorised import random_model

VOCABULARY, EOT = 7, 0
words = st.lists(st.integers(0, VOCABULARY - 1), max_size=30)
corpora = st.lists(words, min_size=1, max_size=5)


def chain_rule(model: torch.nn.Module, ids: list[int], context: int) -> float:
    """One token at a time: each from the window that the definition gives it, in fp64 sums."""
    stream = [0, *ids]
    total = 0.0
    stride = max(1, context // 2)
    for target in range(len(ids)):
        window = max(0, math.ceil((target + 1 - context) / stride)) * stride if target >= context else 0
        first = min(window, max(0, len(ids) - context))
        scores = model.logits(model.hidden(torch.tensor([stream[first : target + 1]]))[:, -1])
        total -= torch.log_softmax(scores[0], -1)[ids[target]].double().item()
    return total


@settings(max_examples=40, deadline=None)
@given(
    documents=st.lists(st.lists(st.integers(0, 299), max_size=40), min_size=1, max_size=4),
    context=st.integers(1, 16),
    batch=st.integers(1, 5),
)
def test_the_sum_over_windows_is_the_chain_rule(documents: list[list[int]], context: int, batch: int) -> None:
    model = random_model(context=16)
    found = likelihoods(model, [Tokens(d, len(d)) for d in documents], 0, context=context, batch=batch)
    with torch.inference_mode():
        for document, part in zip(documents, found, strict=True):
            assert part.nats == pytest.approx(chain_rule(model, document, context), rel=1e-4, abs=1e-4)
            assert part.tokens == len(document)


@settings(max_examples=80, deadline=None)
@given(training=corpora, history=words, order=st.integers(1, 6))
def test_an_ngram_gives_every_token_a_probability_and_they_sum_to_one(
    training: list[list[int]], history: list[int], order: int
) -> None:
    model = NGram.train(training, VOCABULARY, EOT, order)
    found = np.array([model.probabilities([[*history, token]])[0][-1] for token in range(VOCABULARY)])
    assert (found > 0).all()
    assert found.sum() == pytest.approx(1, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(training=corpora, documents=corpora)
def test_an_ngram_reads_each_document_alone(training: list[list[int]], documents: list[list[int]]) -> None:
    model = NGram.train(training, VOCABULARY, EOT, 4)
    together = model.probabilities(documents)
    for document, found in zip(documents, together, strict=True):
        assert found.tolist() == model.probabilities([document])[0].tolist()
        assert len(found) == len(document)


@given(a=st.text("ab ", max_size=8), b=st.text("ab ", max_size=8), c=st.text("ab ", max_size=8))
def test_levenshtein_is_a_metric(a: str, b: str, c: str) -> None:
    assert levenshtein(a, b) == levenshtein(b, a)
    assert (levenshtein(a, b) == 0) == (a == b)
    assert levenshtein(a, c) <= levenshtein(a, b) + levenshtein(b, c)
    assert abs(len(a) - len(b)) <= levenshtein(a, b) <= max(len(a), len(b))
    assert 0 <= edit_similarity(a, b) <= 1


PYTHON_PIECES = [
    '"""',
    "'",
    "(",
    ")",
    "[",
    "]",
    "\n    ",
    "\n\t",
    "if x:",
    "def f():",
    "@a",
    "return",
    "match",
    "\\",
    "é",
]
C_PIECES = [
    "{",
    "}",
    "#if A\n",
    "#endif\n",
    "#ifdef __cplusplus\n",
    ";",
    "x",
    "=",
    "/*",
    "*/",
    "//",
    ",",
    "do",
    "enum",
    "\n",
]
texts = st.lists(st.sampled_from(PYTHON_PIECES + C_PIECES), max_size=25).map("".join)


@settings(max_examples=150, deadline=None)
@given(text=texts, more=texts, language=st.sampled_from(["python", "c"]))
def test_any_text_can_be_judged(text: str, more: str, language: str) -> None:
    ends = scan(language, text).ends
    assert ends == sorted(set(ends))
    assert all(text[end - 1] == "\n" for end in ends)
    found = verdict(language, text, more)
    assert found.valid == (found.why == "parses")
