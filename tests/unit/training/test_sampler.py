"""Samples while training: always the same for the same weights, bounded in time, and without a trace."""

from __future__ import annotations

import random

import pytest
import torch

from cllm import events
from cllm.model.config import ModelConfig
from cllm.model.transformer import Transformer
from cllm.tokenizer import Tokenizer
from cllm.training.sampler import MOST_TOKENS, Sampler
from tests.conftest import TinyRun

TOKENIZER = Tokenizer.train(["def f(x):\n    return x\n"] * 3, 280)


def model(dtype: torch.dtype = torch.float32) -> Transformer:
    config = ModelConfig(
        vocabulary=320, context=64, layers=2, width=32, heads=2, kv_heads=1, head_width=16, ffn_width=64
    )
    made = Transformer(config, dtype)
    made.initialise(0)
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sample_leaves_no_trace(dtype: torch.dtype) -> None:
    trained = model(dtype)
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    state, drawn = torch.random.get_rng_state(), random.getstate()
    sampler = Sampler(trained, TOKENIZER, "def ")
    first, second = sampler.sample(), sampler.sample()
    assert first == second
    assert (first.prompt, first.tokens) == ("def ", MOST_TOKENS)
    assert trained.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert random.getstate() == drawn
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
    ids = torch.tensor([[1, 2, 3]])
    loss = trained(ids, ids, torch.tensor([[True, False, False]]))
    loss.backward()  # refused if a sample had left an inference tensor in the model
    assert all(p.grad is not None for p in trained.parameters())


def test_a_sample_is_of_the_weights_as_they_are_then() -> None:
    trained = model()
    sampler = Sampler(trained, TOKENIZER, "def ")
    before = sampler.sample()
    trained.initialise(1)
    assert sampler.sample() != before


def test_time_ends_a_sample_and_a_long_prompt_does_not() -> None:
    assert Sampler(model(), TOKENIZER, "def ").sample(most_s=0).tokens == 1
    assert Sampler(model(), TOKENIZER, "x = 1\n" * 300).sample().tokens > 0


def test_every_validation_of_a_training_comes_with_a_sample(tiny_run: TinyRun) -> None:
    by_kind = {
        kind: [event["step"] for event in tiny_run.events if event["event"] == kind]
        for kind in (events.VALIDATION, events.SAMPLE)
    }
    assert by_kind[events.SAMPLE] == by_kind[events.VALIDATION]
    assert by_kind[events.SAMPLE][0] == 0
    samples = [event for event in tiny_run.events if event["event"] == events.SAMPLE]
    assert {sample["prompt"] for sample in samples} == {"def "}
    assert samples[0]["text"] != samples[-1]["text"]
