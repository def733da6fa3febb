"""The gate: weights of the components from what is seen of the context, by a network of one hidden layer.

Trained by maximum likelihood of the mixture on files that neither the network nor the memory has seen. How long is
found by cross-fitting: two gates learn from one half of the files each, and are judged on the other. Used with numpy
alone, so that it costs microseconds at each token of a completion; `fit` uses torch.

Shapes: n positions, F features, H hidden units, K components.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cllm.memory.index import go_on

HIDDEN = 64
NETWORK_FIRST = 3.0  # log weight of the network in a gate that has learned nothing
_LARGEST_BATCH, _SMALLEST_BATCH, _STEPS, _RATE, _DECAY = 1024, 64, 20, 8e-3, 1e-4
PASSES = 20
_LEAST_TOKENS = 256  # from which a gate can be learned at all
_LAYERS = ("inner", "inner_bias", "outer", "outer_bias")
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
        return cls(inner, np.zeros(HIDDEN, dtype=np.float32), np.zeros((HIDDEN, components), dtype=np.float32), bias)

    def weights(self, features: Floats, present: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(n, K): they sum to one, and are zero for what is absent."""
        hidden = np.maximum(features @ self.inner + self.inner_bias, 0)
        scores = (hidden @ self.outer + self.outer_bias).astype(np.float64)
        scores = np.where(present, scores, -np.inf)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def weights_of_one(self, features: Sequence[float], present: Sequence[int]) -> list[float]:
        """Of a single position, those of the components `present` (their numbers) alone, in their order."""
        hidden = np.array(features, dtype=np.float32) @ self.inner
        hidden += self.inner_bias
        np.maximum(hidden, 0, out=hidden)
        scores = (hidden @ self.outer + self.outer_bias).tolist()
        kept = [scores[component] for component in present]
        most = max(kept)
        parts = [math.exp(score - most) for score in kept]
        whole = math.fsum(parts)
        return [part / whole for part in parts]

    def arrays(self, name: str) -> dict[str, Floats]:
        """For storing; see `from_arrays`."""
        return {f"{name}.{layer}": getattr(self, layer) for layer in _LAYERS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], name: str) -> Gate:
        """What `arrays` gave. Raises `KeyError`."""
        return cls(*(arrays[f"{name}.{layer}"] for layer in _LAYERS))


def _learn(
    start: Gate, features: Floats, present: NDArray[np.bool_], p: Floats, passes: int,
    held_out: tuple[Floats, NDArray[np.bool_], Floats] | None = None, stop: int | None = None,
    check: Callable[[], None] = go_on,
) -> tuple[Gate, list[float]]:  # fmt: skip
    """The gate after `stop` of so many passes, and its loss (nats per token) on `held_out` after each."""
    import torch

    x, mask, q = torch.from_numpy(features), torch.from_numpy(~present), torch.from_numpy(p)
    layers = [torch.tensor(a, requires_grad=True) for a in start.arrays("g").values()]
    optimizer = torch.optim.AdamW(layers, lr=_RATE, weight_decay=_DECAY)
    generator = torch.Generator().manual_seed(0)
    n = len(x)
    batch = max(_SMALLEST_BATCH, min(_LARGEST_BATCH, n // _STEPS))  # some dozens of steps a pass, where it can be
    steps, step = passes * -(-n // batch), 0
    losses = []

    def now() -> Gate:
        return Gate(*(layer.detach().numpy().copy() for layer in layers))

    for _ in range(passes if stop is None else stop):
        for rows in torch.randperm(n, generator=generator).split(batch):
            check()
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
    features: Floats, present: NDArray[np.bool_], p: Floats, documents: NDArray[np.int64],
    check: Callable[[], None] = go_on,
) -> Fitted:  # fmt: skip
    """Learn a gate from n positions of `documents` (their numbers, (n,))."""
    start = Gate.untrained(features.shape[1], p.shape[1])
    if len(p) < _LEAST_TOKENS:
        return Fitted(start, None, 0)
    half = documents % 2 == 1
    if half.all() or not half.any():  # a single file: its beginning and its end
        half = np.arange(len(p)) >= len(p) // 2
    judged = np.zeros(PASSES + 1)
    for learned in (half, ~half):
        held_out = features[~learned], present[~learned], p[~learned]
        losses = _learn(start, features[learned], present[learned], p[learned], PASSES, held_out, None, check)[1]
        judged += (~learned).mean() * np.array([loss_of(start, *held_out), *losses])
    passes = int(judged.argmin())  # on tiny files a gate may be best that has learned nothing
    gate = _learn(start, features, present, p, PASSES, None, passes, check)[0]
    return Fitted(gate, float(judged[passes]), passes)
