"""Muon's orthogonalisation, and the precision in which it multiplies."""

from __future__ import annotations

import pytest
import torch

from cllm.model.config import config_for
from cllm.model.optim import MuonAdamW, OptimizerSettings, orthogonalise
from cllm.model.transformer import Transformer


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(64, 64), (64, 192), (192, 64)])
def test_singular_values_come_near_to_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonalise(matrix, dtype)
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
    product = torch.addmm

    def spy(added: torch.Tensor, *rest: torch.Tensor, **scales: float) -> torch.Tensor:
        seen.add(added.dtype)
        return product(added, *rest, **scales)

    monkeypatch.setattr(torch, "addmm", spy)
    optimizer = MuonAdamW(model, OptimizerSettings(), torch.float32)
    optimizer.gather(list(optimizer.matrices))
    assert seen == {torch.float32}
