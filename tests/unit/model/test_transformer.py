"""With a cache as without; no token sees what it must not; layers look as far as they should; dropout."""

import pytest
import torch

from cllm.model.attention import ROWS
from cllm.model.config import ModelConfig, config_for
from cllm.model.transformer import Drop, KVCache, Transformer, noise

T = 2 * ROWS + 37


@pytest.fixture(params=[(), (40, T), (ROWS + 3, 7)], ids=["far", "first near", "both near"])
def model(request: pytest.FixtureRequest) -> Transformer:
    """One whose every part does something: nothing is zero."""
    config = config_for("2x128", 97, T).model_copy(update={"reach": request.param})
    model = Transformer(config, torch.float64).double()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.3, 0.3, generator=generator)
    return model


@torch.no_grad()
def test_no_token_sees_another_document(model: Transformer) -> None:
    ids = torch.randint(97, (1, T), generator=torch.Generator().manual_seed(0))
    documents = (torch.arange(T)[None] >= ROWS - 5).int()
    changed = ids.clone()
    changed[0, : ROWS - 5] = 5
    found, other = (model.hidden(x, documents)[:, ROWS - 5 :] for x in (ids, changed))
    torch.testing.assert_close(found, other, rtol=0, atol=0)
    assert not torch.equal(model.hidden(ids)[:, ROWS - 5 :], found)


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


@torch.no_grad()
def test_decoding_one_by_one_is_the_same_as_all_at_once(model: Transformer) -> None:
    ids = torch.randint(97, (2, T), generator=torch.Generator().manual_seed(4))
    cache = KVCache.empty(model.config, 2, T, torch.float64)
    parts = [model.hidden(ids[:, :ROWS], cache=cache)]
    parts += [model.hidden(ids[:, t : t + 1], cache=cache) for t in range(ROWS, T)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model.hidden(ids))


def test_layers_that_look_less_far_cost_less() -> None:
    far = config_for("2x128", 97, 1024).model_copy(update={"reach": ()})
    near = far.model_copy(update={"reach": (128, 1024)})
    ours = 6 * far.multiplied + 6 * 2 * far.heads * far.head_width * 1024
    assert far.flops_per_token(1024) == pytest.approx(ours)
    assert near.flops_per_token(1024) < far.flops_per_token(1024)
    assert near.flops_per_token(100) == pytest.approx(far.flops_per_token(100))
    with pytest.raises(ValueError, match="reach"):
        ModelConfig.model_validate(far.model_dump() | {"reach": (5,)})


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(4, 64, 128)
    drop = Drop(noise(2, *x.shape), 0.2)
    for part in (0, 1):
        left = drop(part, x)
        assert (left == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
        assert left.mean().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(drop(0, x), drop(1, x))


def test_noise_has_all_bytes_alike() -> None:
    torch.manual_seed(1)
    counts = torch.bincount(noise(3, 85, 1001).flatten().long(), minlength=256).float()
    assert counts.std() < 2 * counts.mean() ** 0.5
