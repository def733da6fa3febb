"""Muon for the matrices, AdamW for the rest, with one learning rate for both.

Muon orthogonalises the momentum of each matrix by a Newton-Schulz iteration (Jordan et al. 2024); its update is scaled
so that its root mean square matches AdamW's (Liu et al. 2025, "Muon is scalable for LLM training").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_UPDATE_RMS = 0.2  # AdamW's typical update RMS
GROUP = 3  # matrices of one shape that are orthogonalised in one product


def orthogonalise(matrices_NMK: Tensor, dtype: torch.dtype = torch.bfloat16, iterations: int = 5) -> Tensor:
    """About the nearest semi-orthogonal matrix to each of `matrices_NMK` (N, m, k), computed in `dtype`.

    m is at most k: then the products are the smallest. bf16 is exact enough.
    """
    a, b, c = _NEWTON_SCHULZ
    x = matrices_NMK.to(dtype)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


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


def wide(matrix: Tensor) -> Tensor:
    """The matrix, or its transpose if it has more rows than columns."""
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


@dataclass(frozen=True)
class Share:
    """Groups of matrices that one rank orthogonalises: their names, and where their updates lie in the buffer."""

    groups: tuple[tuple[str, ...], ...] = ()
    first: int = 0  # elements
    end: int = 0


class MuonAdamW:
    """State and update rule. Every rank holds all of it; a `Share` says whose Newton-Schulz iterations it computes.

    One step is `gather()`, which turns gradients into updates of a share of the matrices, an exchange of the buffer
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
        self._groups = self._grouped()
        sizes = {n: self.matrices[n].numel() for group in self._groups for n in group}
        device = next(iter(named.values())).device
        self.updates = torch.zeros(sum(sizes.values()), dtype=torch.bfloat16, device=device)
        self._views = {
            n: update.view_as(self.matrices[n])
            for n, update in zip(sizes, self.updates.split(list(sizes.values())), strict=True)
        }

    def _grouped(self) -> list[tuple[str, ...]]:
        """Matrices of one shape, `GROUP` at a time: always the same ones together, since a product of several need
        not have the bits of single ones."""
        by_shape: dict[torch.Size, list[str]] = {}
        for name, parameter in self.matrices.items():
            by_shape.setdefault(wide(parameter).shape, []).append(name)
        return [tuple(names[i : i + GROUP]) for names in by_shape.values() for i in range(0, len(names), GROUP)]

    def shares(self, ranks: int) -> list[Share]:
        """One share a rank, about even in work."""
        sizes = [len(group) * self.matrices[group[0]].numel() for group in self._groups]
        works = [n * min(self.matrices[g[0]].shape) for n, g in zip(sizes, self._groups, strict=True)]
        done, position = 0, 0
        shares = [Share() for _ in range(ranks)]
        for group, size, work in zip(self._groups, sizes, works, strict=True):
            rank = min(ranks - 1, int(ranks * (done + work / 2) / sum(works)))
            before = shares[rank]
            first = before.first if before.groups else position
            done, position = done + work, position + size
            shares[rank] = Share((*before.groups, group), first, position)
        return shares

    @torch.no_grad()
    def gather(self, share: Share | None = None) -> None:
        """Take the gradients into the momentum; orthogonalise a share (None: all) of it into `updates`.

        What is orthogonalised looks ahead, as Nesterov's momentum does.
        """
        kept = 1 - self.settings.momentum
        gradients = {n: _gradient(p) for n, p in self.matrices.items()}
        torch._foreach_lerp_(list(self._momentum.values()), list(gradients.values()), kept)
        for group in self._groups if share is None else share.groups:
            ahead = torch.stack([wide(torch.lerp(self._momentum[n], gradients[n], kept)) for n in group])
            for name, update in zip(group, orthogonalise(ahead, self._matrix_dtype), strict=True):
                wide(self._views[name]).copy_(update)

    @torch.no_grad()
    def apply(self, learning_rate: float) -> None:
        """Update all weights from `updates` and, for what is no matrix, from the gradients."""
        s = self.settings
        self._steps += 1
        rate = learning_rate * s.rate_scale
        for name, parameter in self.matrices.items():
            scale = _UPDATE_RMS * max(parameter.shape) ** 0.5
            parameter.mul_(1 - rate * s.weight_decay).add_(self._views[name], alpha=-rate * scale)
        beta1, beta2 = s.betas
        correction1, correction2 = 1 - beta1**self._steps, 1 - beta2**self._steps
        for name, parameter in self.others.items():
            gradient = _gradient(parameter)
            if parameter.ndim == 2 and s.vocabulary_decay:
                parameter.mul_(1 - rate * s.vocabulary_decay)
            first = self._first[name].lerp_(gradient, 1 - beta1)
            second = self._second[name].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
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


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad
