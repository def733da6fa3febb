"""Each filter by a small example whose answer is plain, and the draw as an exact inverse of the distribution."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch

from cllm.inference.sampling import choose, distribution, penalise
from cllm.settings import SamplingSettings

PLAIN: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def scores(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log() + 3.7  # a constant changes nothing


def kept(logits: torch.Tensor, **settings: Any) -> dict[int, float]:
    ids, probabilities = distribution(logits, SamplingSettings(**PLAIN | settings))
    places = range(len(probabilities)) if ids is None else ids.tolist()
    return dict(zip(places, probabilities.tolist(), strict=True))


def test_without_filters_it_is_the_softmax() -> None:
    assert kept(scores(0.5, 0.2, 0.3)) == pytest.approx({0: 0.5, 1: 0.2, 2: 0.3})


def test_temperature_sharpens() -> None:
    assert kept(scores(0.6, 0.3, 0.1), temperature=0.5) == pytest.approx({0: 36 / 46, 1: 9 / 46, 2: 1 / 46})


def test_top_k() -> None:
    assert kept(scores(0.1, 0.4, 0.2, 0.3), top_k=2) == pytest.approx({1: 4 / 7, 3: 3 / 7})
    assert len(kept(scores(0.1, 0.9), top_k=50)) == 2
    assert len(kept(torch.zeros(10), top_k=3)) == 3


def test_top_p_keeps_the_fewest_that_reach_it() -> None:
    assert kept(scores(0.1, 0.4, 0.2, 0.3), top_p=0.6) == pytest.approx({1: 4 / 7, 3: 3 / 7})
    assert kept(scores(0.1, 0.4, 0.2, 0.3), top_p=0.75) == pytest.approx({1: 4 / 9, 3: 3 / 9, 2: 2 / 9})
    assert list(kept(scores(0.1, 0.4, 0.2, 0.3), top_p=1e-9)) == [1]


def test_top_p_of_a_flat_distribution_looks_at_the_whole_vocabulary() -> None:
    assert len(kept(torch.arange(1000) * 1e-6, top_p=0.9)) == pytest.approx(900, abs=1)


def test_min_p_is_relative_to_the_likeliest() -> None:
    assert kept(scores(0.1, 0.4, 0.21, 0.29), min_p=0.5) == pytest.approx({1: 0.4 / 0.9, 2: 0.21 / 0.9, 3: 0.29 / 0.9})
    assert list(kept(scores(0.1, 0.4, 0.2, 0.3), min_p=1.0)) == [1]


def test_filters_see_what_the_one_before_kept() -> None:
    # After top-k the two have 4/7 and 3/7, so that 0.55 is reached by the first alone; before it, it was not.
    assert list(kept(scores(0.1, 0.4, 0.2, 0.3), top_k=2, top_p=0.55)) == [1]
    assert list(kept(scores(0.1, 0.4, 0.2, 0.3), top_p=0.55)) == [1, 3]
    assert list(kept(scores(0.1, 0.4, 0.2, 0.3), top_p=0.85, min_p=0.7)) == [1, 3]


def test_penalty_makes_seen_tokens_less_likely_whatever_their_sign() -> None:
    seen = torch.tensor([True, True, False, True])
    out = penalise(torch.tensor([2.0, -2.0, 2.0, -math.inf]), seen, 4.0)
    assert out.tolist() == [0.5, -8.0, 2.0, -math.inf]


def test_greedy_takes_the_first_of_equals() -> None:
    logits = torch.tensor([0.0, 5.0, 5.0, 5.0])
    assert choose(logits, SamplingSettings(temperature=0), draw=0.99) == 1


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.99}, {"top_k": 3}, {"min_p": 0.01}])
def test_draws_fall_in_proportion_to_the_probabilities(settings: dict[str, Any]) -> None:
    logits, draws = scores(0.25, 0.0, 0.6, 0.15), 1000
    found = Counter(choose(logits, SamplingSettings(**PLAIN | settings), (i + 0.5) / draws) for i in range(draws))
    assert found == {0: 250, 2: 600, 3: 150}


@pytest.mark.parametrize("draw", [0.0, 1 - 2**-53])
def test_a_token_that_is_ruled_out_is_never_drawn(draw: float) -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    for settings in ({}, {"top_k": 4}, {"top_p": 0.999}, {"min_p": 0.1}):
        assert choose(logits, SamplingSettings(**PLAIN | settings), draw) in (1, 3)


@pytest.mark.parametrize("temperature", [5e-324, 1e-9, 100.0])
def test_extreme_temperatures_are_still_distributions(temperature: float) -> None:
    probabilities = kept(torch.tensor([1e4, -1e4, 9e3]), temperature=temperature, top_p=0.95)
    assert sum(probabilities.values()) == pytest.approx(1)
    if temperature < 1:
        assert probabilities[0] == pytest.approx(1)
