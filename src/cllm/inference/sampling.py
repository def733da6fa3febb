"""From the scores of a vocabulary to one token: pure functions; randomness comes in as a number.

Shapes: V tokens in the vocabulary, N tokens that a filter kept.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cllm.settings import SamplingSettings

_COLDEST = 1e-6  # below this, differences of scores overflow fp32; only exact ties are left to chance there anyway
_NUCLEUS = 128  # likeliest tokens looked at before the whole vocabulary is sorted; almost always enough


def penalise(logits_V: Tensor, seen_V: Tensor, penalty: float) -> Tensor:
    """Scores with those of tokens already seen (bool, V) made smaller by `penalty` > 1 (Keskar et al. 2019, CTRL).

    Negative scores are multiplied, so that the penalty never helps a token.
    """
    return torch.where(seen_V, torch.where(logits_V > 0, logits_V / penalty, logits_V * penalty), logits_V)


def distribution(logits_V: Tensor, settings: SamplingSettings) -> tuple[Tensor | None, Tensor]:
    """The tokens that may be drawn (N ids, or None for the whole vocabulary) and their probabilities, summing to 1.

    Temperature first (it must be above 0), then top-k, then top-p (Holtzman et al. 2020: the fewest likeliest tokens
    that together reach p), then min-p (Nguyen et al. 2024); each filter sees what the one before it kept, renormalised.
    A score of -inf is a probability of 0.
    """
    scores = (logits_V - logits_V.max()) / max(settings.temperature, _COLDEST)
    ids: Tensor | None = None
    if 0 < settings.top_k < len(scores):
        scores, ids = scores.topk(settings.top_k)
    probabilities = scores.double().softmax(dim=0)
    if settings.top_p < 1:
        probabilities, chosen = _nucleus(probabilities, settings.top_p)
        ids = chosen if ids is None else ids[chosen]
    if settings.min_p > 0:
        kept = (probabilities >= settings.min_p * probabilities.max()).nonzero()[:, 0]
        probabilities, ids = probabilities[kept], kept if ids is None else ids[kept]
    return ids, probabilities / probabilities.sum()


def _nucleus(probabilities: Tensor, mass: float) -> tuple[Tensor, Tensor]:
    """The fewest likeliest entries that reach `mass`, and their places; likeliest first."""
    count = min(_NUCLEUS, len(probabilities))
    ordered, places = probabilities.topk(count)
    cumulative = ordered.cumsum(dim=0)
    if count < len(probabilities) and float(cumulative[-1]) < mass:
        ordered, places = probabilities.sort(descending=True)
        cumulative = ordered.cumsum(dim=0)
    kept = min(int(torch.searchsorted(cumulative, mass)) + 1, len(ordered))
    return ordered[:kept], places[:kept]


def choose(logits_V: Tensor, settings: SamplingSettings, draw: float) -> int:
    """One token id; `draw` is uniform in [0, 1). At temperature 0 the likeliest, the lowest id among equals."""
    if settings.temperature == 0:
        return int(logits_V.argmax())
    ids, probabilities = distribution(logits_V, settings)
    cumulative = probabilities.cumsum(dim=0)
    total = float(cumulative[-1])
    # Inverse of the cumulative distribution; `right` steps over tokens of probability 0.
    place = int(torch.searchsorted(cumulative, min(draw * total, math.nextafter(total, 0.0)), right=True))
    return place if ids is None else int(ids[place])
