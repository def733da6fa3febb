"""The heads of a model at its start look where they should."""

import argparse
import inspect
import typing

import numpy as np
import pytest
import torch
from torch import Tensor

from cllm.model.attention import attend, view_of
from cllm.model.bigram import start_from_bigrams
from cllm.model.config import ModelConfig, config_for
from cllm.model.heads import start_with_induction
from cllm.model.transformer import Transformer, finish, project, rotate

T = 96
SOURCE = inspect.getsource(argparse) + inspect.getsource(typing)
CORPUS = np.frombuffer(SOURCE.encode(), dtype=np.uint8).astype(np.uint16)


def attention(model: Transformer, ids: Tensor, layer: int) -> Tensor:
    """(H, T, T) of one layer, computed from its weights."""
    x = model.embed_tokens(ids)[None]
    config = model.config
    heads = (config.kv_heads, config.heads // config.kv_heads)
    mask = torch.full((T, T), -torch.inf).triu(1)
    cos, sin = (table[:T] for table in model._angles)
    for before in model.layers[:layer]:  # type: ignore[union-attr]
        q, k, v = project(before, x, cos, sin)
        x = finish(before, x, attend(q, k, v, view_of(None, T, 0, T, heads, x.dtype)))
    block = model.layers[layer]
    a, x = block.self_attn, block.input_layernorm(x)
    q = rotate(a.q_norm(a.q_proj(x).view(T, a.heads, a.head_width)), cos, sin).transpose(0, 1)
    k = rotate(a.k_norm(a.k_proj(x).view(T, a.kv_heads, a.head_width)), cos, sin).transpose(0, 1)
    k = k.repeat_interleave(a.heads // a.kv_heads, dim=0)
    return (q @ k.transpose(1, 2) / a.head_width**0.5 + mask).softmax(-1)


@pytest.fixture(params=["3x128", "4x192", "2x256"])  # 1 key-value head for 2 heads; one for each of 3; 2 for 4
def started(request: pytest.FixtureRequest) -> tuple[Transformer, Tensor]:
    """A model of bytes at its start, and a window of its corpus."""
    model = Transformer(config_for(request.param, 256, T))
    model.initialise(0)
    start_from_bigrams(model, CORPUS, 0)
    start_with_induction(model, 0)
    return model, torch.tensor(CORPUS[5000 : 5000 + T].astype(np.int64))


@torch.no_grad()
def test_the_first_two_heads_look_one_and_two_tokens_back(started: tuple[Transformer, Tensor]) -> None:
    model, ids = started
    found = attention(model, ids, 0)
    for head, distance in ((0, 1), (1, 2)):
        assert found[head].diagonal(-distance)[5:].mean() > 0.6


@torch.no_grad()
def test_a_head_of_the_second_layer_finds_what_followed_the_same_token(started: tuple[Transformer, Tensor]) -> None:
    model, ids = started
    follows = torch.zeros(T, T)
    follows[:, 1:] = (ids[:, None] == ids[None, :-1]).float()
    follows = follows.tril()
    seen = follows.sum(1) > 0
    found = attention(model, ids, 1)[0]
    by_chance = (follows.sum(1) / torch.arange(1, T + 1))[seen].mean()
    assert (found * follows).sum(1)[seen].mean() > 0.3 + 2 * by_chance


@torch.no_grad()
def test_predictions_hardly_change_by_it(started: tuple[Transformer, Tensor]) -> None:
    model, ids = started
    bigram = Transformer(model.config)
    bigram.initialise(0)
    start_from_bigrams(bigram, CORPUS, 0)
    with_heads, without = (m.logits(m.hidden(ids[None])).softmax(-1) for m in (model, bigram))
    assert 0 < (with_heads - without).abs().sum(-1).mean() / 2 < 0.1  # total variation


@pytest.mark.parametrize(("heads", "layers"), [(1, 1), (1, 2), (2, 1)])
def test_one_head_or_one_layer_is_enough(heads: int, layers: int) -> None:
    model = Transformer(
        ModelConfig(
            vocabulary=300, context=16, layers=layers, width=32, heads=heads, kv_heads=1, head_width=32,
            ffn_width=32, tied=False,
        )
    )  # fmt: skip
    model.initialise(0)
    start_from_bigrams(model, np.arange(300, dtype=np.uint16), 0)
    start_with_induction(model, 0)
    assert all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values())
