"""Muon for the matrices, AdamW for the rest, with one learning rate for both.

Muon orthogonalises the momentum of each matrix by a Newton-Schulz iteration (Jordan et al. 2024); its update is scaled
so that its root mean square matches AdamW's (Liu et al. 2025, "Muon is scalable for LLM training").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_UPDATE_RMS = 0.2  # AdamW's typical update RMS


def orthogonalise(matrix: Tensor, dtype: torch.dtype = torch.bfloat16, iterations: int = 5) -> Tensor:
    """About the nearest semi-orthogonal matrix to `matrix` (m, n), computed in `dtype`; bf16 is exact enough."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix.to(dtype)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T.contiguous()
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


@dataclass(frozen=True)
class OptimizerSettings:
    """Constants of both optimizers; the learning rate comes with each step."""

    weight_decay: float = 0.1  # of the matrices of the layers
    vocabulary_decay: float = 0.3  # of embedding and output layer: without it they learn the corpus by heart
    momentum: float = 0.95
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    # What the run's learning rate is taken times, so that its default of 0.001 suits both (docs/planner.md).
    rate_scale: float = 5.0


@dataclass
class Share:
    """Matrices that one rank orthogonalises: their names, and where their updates lie in the buffer (elements)."""

    first: int
    end: int
    names: list[str]


class MuonAdamW:
    """State and update rule. Every rank holds all of it; `owned` says whose Newton-Schulz iterations it computes.

    One step is `gather()`, which turns gradients into updates of the owned matrices, an exchange of the buffer
    `updates` between the ranks (the caller's business; alone there is none), and `apply()`.
    """

    def __init__(
        self, model: nn.Module, settings: OptimizerSettings, matrix_dtype: torch.dtype = torch.bfloat16
    ) -> None:
        """`matrix_dtype` is what the processor multiplies fastest: of bf16 in software a step is mostly made of it."""
        self.settings = settings
        self._matrix_dtype = matrix_dtype
        named = dict(model.named_parameters())
        self.matrices = {n: p for n, p in named.items() if p.ndim == 2 and not n.startswith(("embed", "lm_head"))}
        self.others = {n: p for n, p in named.items() if n not in self.matrices}
        self._momentum = {n: torch.zeros_like(p) for n, p in self.matrices.items()}
        self._first = {n: torch.zeros_like(p) for n, p in self.others.items()}
        self._second = {n: torch.zeros_like(p) for n, p in self.others.items()}
        self._steps = 0
        sizes = [p.numel() for p in self.matrices.values()]
        device = next(iter(named.values())).device
        self.updates = torch.zeros(sum(sizes), dtype=torch.bfloat16, device=device)
        self._views = dict(zip(self.matrices, self.updates.split(sizes), strict=True))

    def shares(self, ranks: int) -> list[Share]:
        """One share a rank, about even in work."""
        cost = {n: p.numel() * min(p.shape) for n, p in self.matrices.items()}
        total, done, position = sum(cost.values()), 0, 0
        shares = [Share(0, 0, []) for _ in range(ranks)]
        for name, parameter in self.matrices.items():
            share = shares[min(ranks - 1, int(ranks * (done + cost[name] / 2) / total))]
            if not share.names:
                share.first = position
            position += parameter.numel()
            share.end = position
            share.names.append(name)
            done += cost[name]
        return shares

    @torch.no_grad()
    def gather(self, owned: Iterable[str]) -> None:
        """Take the gradients into the momentum; orthogonalise what is owned (Nesterov's look-ahead) into `updates`."""
        beta = self.settings.momentum
        owned = set(owned)
        for name, parameter in self.matrices.items():
            assert parameter.grad is not None
            self._momentum[name].mul_(beta).add_(parameter.grad, alpha=1 - beta)
            if name in owned:
                ahead = self._momentum[name].mul(beta).add_(parameter.grad, alpha=1 - beta)
                self._views[name].copy_(orthogonalise(ahead, self._matrix_dtype).reshape(-1))

    @torch.no_grad()
    def apply(self, learning_rate: float) -> None:
        """Update all weights from `updates` and, for what is no matrix, from the gradients."""
        s = self.settings
        self._steps += 1
        rate = learning_rate * s.rate_scale
        for name, parameter in self.matrices.items():
            scale = _UPDATE_RMS * max(parameter.shape) ** 0.5
            parameter.mul_(1 - rate * s.weight_decay).add_(self._views[name].view_as(parameter), alpha=-rate * scale)
        beta1, beta2 = s.betas
        correction1, correction2 = 1 - beta1**self._steps, 1 - beta2**self._steps
        for name, parameter in self.others.items():
            assert parameter.grad is not None
            if parameter.ndim == 2 and s.vocabulary_decay:
                parameter.mul_(1 - rate * s.vocabulary_decay)
            first = self._first[name].lerp_(parameter.grad, 1 - beta1)
            second = self._second[name].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
            parameter.addcdiv_(first, (second / correction2).sqrt_().add_(s.eps), value=-rate / correction1)

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed training needs, by name; the tensors themselves, not copies."""
        tensors = {f"momentum.{n}": t for n, t in self._momentum.items()}
        tensors |= {f"first.{n}": t for n, t in self._first.items()}
        tensors |= {f"second.{n}": t for n, t in self._second.items()}
        return tensors | {"steps": torch.tensor([self._steps], dtype=torch.int64)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state()` gave. Raises `KeyError` or `RuntimeError` if it is of another model."""
        for name, tensor in self.state().items():
            if name != "steps":
                tensor.copy_(state[name])
        self._steps = int(state["steps"])
