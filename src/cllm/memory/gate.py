"""The gate: weights of the components from what is seen of the context, by a network of one hidden layer.

Trained by maximum likelihood of the mixture on files that neither the network nor the memory has seen. How long is found
by cross-fitting: two gates learn from one half of the files each, and are judged on the other. numpy only, so that it
costs microseconds at each token of a completion; `fit` uses torch.

Shapes: n positions, F features, H hidden units, K components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIDDEN = 64
NETWORK_FIRST = 3.0  # log weight of the network in a gate that has learned nothing
_BATCH, _RATE, _DECAY, MOST_PASSES = 512, 4e-3, 1e-4, 24
_LEAST_TOKENS = 256  # from which a gate can be learned at all
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Gate:
    """Weights of the layers, (F, H), (H,), (H, K) and (K,)."""

    inner: Floats
    inner_bias: Floats
    outer: Floats
    outer_bias: Floats

    @classmethod
    def untrained(cls, features: int, components: int) -> Gate:
        """Gives nearly all weight to the network, the first component."""
        bias = np.zeros(components, dtype=np.float32)
        bias[0] = NETWORK_FIRST + np.log(components)
        random = np.random.default_rng(0)
        inner = (random.standard_normal((features, HIDDEN)) / np.sqrt(features)).astype(np.float32)
        return cls(
            inner, np.zeros(HIDDEN, dtype=np.float32), np.zeros((HIDDEN, components), dtype=np.float32), bias
        )

    def weights(self, features: Floats, present: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n, K): they sum to one, and are zero for what is absent."""
        hidden = np.maximum(features @ self.inner + self.inner_bias, 0)
        scores = (hidden @ self.outer + self.outer_bias).astype(np.float64)
        scores = np.where(present, scores, -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def arrays(self, name: str) -> dict[str, Floats]:
        """For storing; see `from_arrays`."""
        layers = {"inner": self.inner, "inner_bias": self.inner_bias, "outer": self.outer, "outer_bias": self.outer_bias}
        return {f"{name}.{layer}": array for layer, array in layers.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Gate:
        """What `arrays` gave. Raises `KeyError`."""
        return cls(*(arrays[f"{name}.{layer}"] for layer in ("inner", "inner_bias", "outer", "outer_bias")))


def _learn(
    start: Gate, features: Floats, present: NDArray[np.bool_], p: Floats, passes: int,
    held_out: tuple[Floats, NDArray[np.bool_], Floats] | None = None,
) -> tuple[Gate, list[float]]:  # fmt: skip
    """The gate after so many passes, and its loss (nats per token) on `held_out` after each."""
    import torch

    x, mask, q = torch.from_numpy(features), torch.from_numpy(~present), torch.from_numpy(p)
    layers = [torch.tensor(a, requires_grad=True) for a in start.arrays("g").values()]
    optimizer = torch.optim.AdamW(layers, lr=_RATE, weight_decay=_DECAY)
    generator = torch.Generator().manual_seed(0)
    n = len(x)
    steps, step = passes * -(-n // _BATCH), 0
    losses = []

    def now() -> Gate:
        return Gate(*(layer.detach().numpy().copy() for layer in layers))

    for _ in range(passes):
        for rows in torch.randperm(n, generator=generator).split(_BATCH):
            for group in optimizer.param_groups:
                group["lr"] = _RATE * min(1.0, (step + 1) / 50) * (1 - step / steps)
            step += 1
            hidden = torch.relu(x[rows] @ layers[0] + layers[1])
            scores = (hidden @ layers[2] + layers[3]).masked_fill(mask[rows], -torch.inf)
            loss = -(scores.softmax(dim=1) * q[rows]).sum(dim=1).clamp_min(1e-12).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if held_out is not None:
            losses.append(loss_of(now(), *held_out))
    return now(), losses


def loss_of(gate: Gate, features: Floats, present: NDArray[np.bool_], p: Floats) -> float:
    """Nats per token of the mixture."""
    mixed = (gate.weights(features, present) * p).sum(axis=1)
    return float(-np.log(np.maximum(mixed, 1e-12)).mean())


@dataclass(frozen=True)
class Fitted:
    """A gate, and what gates of half the files reach on the other half: nats per token, None for too few files."""

    gate: Gate
    cross_fitted: float | None
    passes: int


def fit(
    features: Floats, present: NDArray[np.bool_], p: Floats, documents: NDArray[np.int64], passes: int = 0
) -> Fitted:
    """Learn a gate from n positions of `documents` (their numbers, (n,)); `passes` 0 means chosen by cross-fitting."""
    start = Gate.untrained(features.shape[1], p.shape[1])
    if len(p) < _LEAST_TOKENS:
        return Fitted(start, None, 0)
    half = documents % 2 == 1
    loss = None
    if half.any() and not half.all():
        sums: dict[int, float] = {}
        for number in (passes,) if passes else (MOST_PASSES // 4, MOST_PASSES // 2, MOST_PASSES):
            for learned in (half, ~half):
                gate, _ = _learn(start, features[learned], present[learned], p[learned], number)
                judged = loss_of(gate, features[~learned], present[~learned], p[~learned])
                sums[number] = sums.get(number, 0.0) + judged * (~learned).mean()
            if sums[number] > min(sums.values()):
                break
        passes = min(sums, key=lambda number: sums[number])
        loss = sums[passes]
    gate, _ = _learn(start, features, present, p, passes or MOST_PASSES // 4)
    return Fitted(gate, loss, passes)
