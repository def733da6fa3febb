"""An untrained model that begins with the bigrams of its corpus predicts by them."""

import numpy as np
import pytest
import torch

from cllm.model.bigram import PRIOR_PAIRS, start_from_bigrams
from cllm.model.config import ModelConfig
from cllm.model.transformer import Transformer

V = 12


def model_of(tied: bool = False, seed: int = 0) -> Transformer:
    model = Transformer(
        ModelConfig(
            vocabulary=V, context=8, layers=2, width=32, heads=2, kv_heads=1, head_width=16, ffn_width=32, tied=tied
        )
    )
    model.initialise(seed)
    return model


@pytest.fixture
def stream() -> np.ndarray:
    """A Markov chain in which each token is mostly followed by one of two others."""
    random = np.random.default_rng(0)
    tokens = [0]
    for draw in random.random(60_000):
        last = tokens[-1]
        tokens.append((last * 5 + 1) % V if draw < 0.6 else (last * 7 + 3) % V if draw < 0.9 else int(draw * 1e6) % V)
    return np.array(tokens, dtype=np.uint16)


def smoothed(stream: np.ndarray) -> torch.Tensor:
    """(V, V) bigram probabilities with the prior that the module names, counted one pair after the other."""
    counts = torch.zeros(V, V, dtype=torch.float64)
    for a, b in zip(stream[:-1].tolist(), stream[1:].tolist(), strict=True):
        counts[a, b] += 1
    unigram = (counts.sum(0) + 0.5) / (counts.sum(0) + 0.5).sum()
    return (counts + PRIOR_PAIRS * unigram) / (counts.sum(1, keepdim=True) + PRIOR_PAIRS)


def test_the_first_predictions_are_the_smoothed_bigrams(stream: np.ndarray) -> None:
    model = model_of()
    start_from_bigrams(model, stream, seed=0)
    with torch.no_grad():
        ids = torch.arange(V)[:, None].expand(V, 8)  # whatever stands before, only the last token counts
        predicted = model.logits(model.hidden(ids))[:, -1].softmax(-1).double()
    expected = smoothed(stream)
    assert (predicted - expected).abs().max() < 0.01, (predicted - expected).abs().max()


def test_it_is_the_same_every_time_and_of_another_seed_as_good(stream: np.ndarray) -> None:
    a, b, c = model_of(), model_of(), model_of()
    start_from_bigrams(a, stream, seed=0)
    start_from_bigrams(b, stream, seed=0)
    start_from_bigrams(c, stream, seed=1)
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    ids = torch.arange(V)[None]
    with torch.no_grad():
        difference = a.logits(a.hidden(ids)).softmax(-1) - c.logits(c.hidden(ids)).softmax(-1)
    assert difference.abs().max() < 0.01


def test_only_embedding_and_head_change(stream: np.ndarray) -> None:
    model, before = model_of(), model_of().state_dict()
    start_from_bigrams(model, stream, seed=0)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"embed_tokens.weight", "lm_head.weight"}


@pytest.mark.parametrize("tokens", [[0, 1], [3, 3, 3, 3], [*range(V)]])
def test_tiny_corpora_give_finite_weights(tokens: list[int]) -> None:
    model = model_of()
    start_from_bigrams(model, np.array(tokens, dtype=np.uint16), seed=0)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
