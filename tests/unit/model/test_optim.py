"""Muon's orthogonalisation, and the precision in which it multiplies."""

from __future__ import annotations

import pytest
import torch

from cllm.model.config import config_for
from cllm.model.optim import MuonAdamW, OptimizerSettings, orthogonalise
from cllm.model.transformer import Transformer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(64, 64), (64, 192)])
def test_singular_values_come_near_to_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    (found,) = orthogonalise(matrix[None], dtype)
    assert found.dtype == dtype and found.shape == shape
    values = torch.linalg.svdvals(found.float())
    # The iteration's own bounds (Jordan et al. 2024): it is fast, not exact.
    assert values.min() > 0.3 and values.max() < 1.3
    # It keeps the directions: the product with the matrix it came from is its nuclear norm, nearly.
    assert torch.sum(found.float() * matrix) > 0.8 * torch.linalg.svdvals(matrix).sum()


def test_the_optimizer_multiplies_in_the_precision_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Transformer(config_for("nano", 300, 16))
    model.initialise(0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    seen: set[torch.dtype] = set()
    product = torch.baddbmm

    def spy(added: torch.Tensor, *rest: torch.Tensor, **scales: float) -> torch.Tensor:
        seen.add(added.dtype)
        return product(added, *rest, **scales)

    monkeypatch.setattr(torch, "baddbmm", spy)
    optimizer = MuonAdamW(model, OptimizerSettings(), torch.float32)
    optimizer.gather()
    assert seen == {torch.float32}


@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 40])
def test_shares_cover_every_matrix_once_and_give_the_updates_of_one_rank(ranks: int) -> None:
    model = Transformer(config_for("micro", 300, 16))
    model.initialise(0)
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    alone = MuonAdamW(model, OptimizerSettings(), torch.float32)
    alone.gather()
    together, end = torch.zeros_like(alone.updates), 0
    for share in alone.shares(ranks):
        one = MuonAdamW(model, OptimizerSettings(), torch.float32)
        one.gather(share)
        if share.groups:
            assert share.first == end
            end = share.end
        together[share.first : share.end] = one.updates[share.first : share.end]
    assert end == together.numel()
    assert torch.equal(together, alone.updates)  # the very bits


def test_each_matrix_is_updated_by_its_own_gradient() -> None:
    model = Transformer(config_for("micro", 300, 16))
    model.initialise(0)
    generator = torch.Generator().manual_seed(3)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = MuonAdamW(model, OptimizerSettings(weight_decay=0.0), torch.float32)
    optimizer.gather()
    optimizer.apply(0.001)
    for name, parameter in optimizer.matrices.items():
        assert parameter.grad is not None
        moved, gradient = (before[name] - parameter.detach()).double(), parameter.grad.double()
        u, _, v = torch.linalg.svd(gradient, full_matrices=False)
        cosine = (moved * (u @ v)).sum() / (moved.norm() * (u @ v).norm())
        assert cosine > 0.9, name  # Newton-Schulz is fast, not exact
        assert moved.square().mean().sqrt() == pytest.approx(0.001 * 5 * 0.2, rel=0.35)
