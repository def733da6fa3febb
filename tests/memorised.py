"""Models that know a text by heart, or nothing at all: what they generate is known in advance."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from cllm import __version__, checkpoint
from cllm.checkpoint import LoadedModel
from cllm.container import Header
from cllm.model.config import ModelConfig, config_for
from cllm.model.transformer import Transformer
from cllm.tokenizer import Tokenizer

TEXT = '''import os
import sys


def walk(top):
    """Yield all files under top; naïve → slow."""
    for entry in os.scandir(top):
        if entry.is_dir():
            yield from walk(entry.path)
        else:
            yield entry.path


def main():
    for path in walk(sys.argv[1]):
        print(path)


if __name__ == "__main__":
    main()
'''
LOOP = "while True:\n\tstep(1)  # again\n"


def _loaded(model: Transformer, tokenizer: Tokenizer) -> LoadedModel:
    weights = model.state_dict()
    header = Header(
        kind="model", name="memorised", cllm_version=__version__, model=model.config.model_dump(),
        weights_sha256=checkpoint.weights_sha256(weights), tokenizer_sha256=tokenizer.sha256,
    )  # fmt: skip
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, header, Path("memorised.cllm"))


def _learn(text: str, context: int, steps: int, ends: bool) -> LoadedModel:
    """A few optimizer steps on one text, until the likeliest token is everywhere the text's next one."""
    seen = "".join(character for character in text if character.isascii())  # others stay in parts, a token a byte
    tokenizer = Tokenizer.train([seen] * 3, 512)
    model = Transformer(config_for("nano", tokenizer.vocabulary, context).model_copy(update={"tied": True}))
    model.initialise(0)
    ids = torch.tensor([tokenizer.end_of_text, *tokenizer.encode(text), *([tokenizer.end_of_text] if ends else [])])
    inputs, targets = ids[None, :-1], ids[None, 1:]
    starts = torch.zeros_like(inputs, dtype=torch.bool)
    starts[0, 0] = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(inputs, targets, starts) / inputs.numel()).backward()
        optimizer.step()
    hidden = model.hidden(inputs)
    assert torch.equal(model.logits(hidden).argmax(-1), targets), "not learnt: give it more steps"
    return _loaded(model, tokenizer)


@functools.cache
def memorised() -> LoadedModel:
    """Knows `TEXT`, and that it ends there."""
    return _learn(TEXT, context=128, steps=60, ends=True)


@functools.cache
def looping() -> LoadedModel:
    """Repeats `LOOP` without an end, and has a context of 32 tokens."""
    return _learn(LOOP * 12, context=32, steps=60, ends=False)


def random_model(context: int, seed: int = 0, vocabulary: int = 300) -> Transformer:
    """Random weights in every place, so that every token before matters."""
    config = ModelConfig(
        vocabulary=vocabulary, context=context, layers=2, width=32, heads=4, kv_heads=2, head_width=16, ffn_width=64
    )
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + (parameter.ndim == 1))
    return model.eval().requires_grad_(False)


def write_model(loaded: LoadedModel, path: Path) -> Path:
    """The model as a `.cllm` file."""
    checkpoint.write(path, loaded.header, loaded.model.state_dict(), loaded.tokenizer.to_json())
    return path
