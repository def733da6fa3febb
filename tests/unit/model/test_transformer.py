"""Attention row by row gives what attention all at once gives."""

import pytest
import torch

from cllm.model import transformer
from cllm.model.config import config_for
from cllm.model.transformer import ROWS, KVCache, Transformer, document_mask

T = 2 * ROWS + 37


@pytest.fixture
def model() -> Transformer:
    """One whose every part does something: nothing is zero."""
    model = Transformer(config_for("2x128", 97, T), torch.float64).double()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.3, 0.3, generator=generator)
    return model


@torch.no_grad()
def test_rows_by_rows_is_the_same_as_all_at_once(model: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.randint(97, (2, T), generator=torch.Generator().manual_seed(0))
    starts = torch.zeros(2, T, dtype=torch.bool)
    starts[0, ROWS - 5] = starts[1, 11] = True  # a document that crosses the first rows' end, and a short one
    by_rows = model.hidden(ids, document_mask(starts))
    monkeypatch.setattr(transformer, "ROWS", T)
    torch.testing.assert_close(by_rows, model.hidden(ids, document_mask(starts)))


@torch.no_grad()
def test_with_a_cache_rows_see_what_is_in_it(model: Transformer) -> None:
    ids = torch.randint(97, (1, T), generator=torch.Generator().manual_seed(1))
    whole = model.hidden(ids)
    cache = KVCache.empty(model.config, 1, T, torch.float64)
    parts = [model.hidden(part, cache=cache) for part in (ids[:, :20], ids[:, 20 : 30 + ROWS], ids[:, 30 + ROWS :])]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)


@torch.no_grad()
def test_no_token_sees_what_follows_it(model: Transformer) -> None:
    ids = torch.randint(97, (1, T), generator=torch.Generator().manual_seed(2))
    changed = ids.clone()
    changed[0, ROWS + 1 :] = 5
    torch.testing.assert_close(model.hidden(ids)[:, : ROWS + 1], model.hidden(changed)[:, : ROWS + 1])
