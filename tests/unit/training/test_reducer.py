"""The fixed tree without ranks, and how microbatches are dealt to ranks."""

from __future__ import annotations

import pytest
import torch

from cllm.training.reducer import ExactReducer, FastReducer, deal_microbatches, split


def tree(values: list[torch.Tensor]) -> torch.Tensor:
    """What the exact reducer promises, written down as the definition says."""
    if len(values) == 1:
        return values[0].clone()
    middle = split(0, len(values))
    return tree(values[:middle]) + tree(values[middle:])


@pytest.mark.parametrize("microbatches", [1, 2, 3, 4, 6, 12])
def test_one_rank_sums_in_tree_order(microbatches: int) -> None:
    generator = torch.Generator().manual_seed(microbatches)
    values = [torch.randn(1000, generator=generator) * 10.0 ** (k % 4) for k in range(microbatches)]
    result = torch.zeros(1000)
    reducer = ExactReducer(microbatches, 0, 1, result)
    for _ in range(2):  # buffers are used again
        total = reducer.reduce(lambda k, out: out.add_(values[k]))
        assert total.data_ptr() == result.data_ptr()
        assert torch.equal(total, tree(values))
    fast = FastReducer(microbatches, 0, 1, torch.zeros(1000)).reduce(lambda k, out: out.add_(values[k]))
    assert torch.allclose(fast, total, atol=0.1)


@pytest.mark.parametrize("ranks", range(1, 13))
def test_microbatches_are_dealt_whole_and_evenly(ranks: int) -> None:
    deal = deal_microbatches(12, ranks)
    assert [k for mine in deal for k in mine] == list(range(12))
    assert max(map(len, deal)) - min(map(len, deal)) <= 1
