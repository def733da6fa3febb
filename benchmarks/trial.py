"""One training of `benchmarks.recipe`: `python -m benchmarks.trial JSON` prints what came out, as JSON.

Data order, schedule, optimizer and model are those of `cllm train`; it ends after so many floating point operations,
not after so much time. On a GPU all windows of a step are one batch, and attention is torch's, with a mask of who sees
whom: many small products would wait for each other there. The model is the same but for rounding.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.recipe import Recipe
from cllm.corpus.likeness import ppmd_bits_per_byte
from cllm.evaluation.likelihood import Likelihood, Tokens, likelihoods
from cllm.model import bigram, optim, transformer
from cllm.model.config import ModelConfig, config_for, reach_for
from cllm.model.heads import start_with_induction
from cllm.model.transformer import PLAIN, Transformer
from cllm.order import NO_TARGET, Batch, WindowOrder
from cllm.spheres import deal
from cllm.training import schedule
from cllm.training.compiling import compiled_parts
from cllm.training.expected import TYPICAL
from cllm.training.renaming import Renaming
from cllm.training.shards import Shards, Split
from cllm.training.trainer import CLIP_NORM
from cllm.workspace import RunDirectory

SPHERES = 12
TOKENS_AT_ONCE = 1024  # of windows that are shorter, on a processor
WARMUP = 0.02


def digest(text: bytes) -> bytes:
    """By which documents are chosen evenly."""
    return hashlib.sha256(text).digest()


def some_of(split: Split, share: float) -> Split:
    """Documents at even distances."""
    count = max(1, round(share * (split.offsets.size - 1)))
    kept = [split.documents[i] for i in np.linspace(0, split.offsets.size - 2, count).astype(int)]
    return Split(np.concatenate(kept), np.cumsum([0, *map(len, kept)]))


def config_of(recipe: Recipe, vocabulary: int) -> ModelConfig:
    """The model of a recipe."""
    config = config_for(recipe.size, vocabulary, recipe.context)
    changed: dict[str, Any] = {"tied": recipe.tied, "ffn_width": int(recipe.ffn * config.width)}
    if recipe.rope_theta:
        changed["rope_theta"] = recipe.rope_theta
    if recipe.near is not None:
        changed["reach"] = reach_for(config.layers, recipe.context, recipe.near or recipe.context)
    return config.model_copy(update=changed)


def use_gpu_attention(device: str) -> None:
    """Have `cllm.model.transformer` compute on a GPU what it does by rows on a processor."""

    def view_of(
        documents_BS: Tensor | None, length: int, before: int, reach: int, heads: tuple[int, int], dtype: torch.dtype
    ) -> Tensor:
        """(1 or B, 1, T, S): who sees whom."""
        distance = torch.arange(before, before + length, device=device)[:, None] - torch.arange(
            before + length, device=device
        )
        seen = (distance >= 0) & (distance < reach)
        if documents_BS is None:
            return seen[None, None]
        return (seen & (documents_BS[:, before:, None] == documents_BS[:, None, :]))[:, None]

    def attend(q_BTHW: Tensor, k_BSKW: Tensor, v_BSKW: Tensor, seen: Tensor) -> Tensor:
        group = q_BTHW.shape[2] // k_BSKW.shape[2]
        q, k, v = (
            x.transpose(1, 2)
            for x in (q_BTHW, k_BSKW.repeat_interleave(group, dim=2), v_BSKW.repeat_interleave(group, dim=2))
        )
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2)

    def noise(*shape: int) -> Tensor:
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)

    for name, function in (("view_of", view_of), ("attend", attend), ("noise", noise)):
        setattr(transformer, name, function)
    optim.GROUP = 1000


def moved(model: Transformer, device: str) -> Transformer:
    """The model with all that it computes with on a device."""
    model.to(device)
    model._angles = (model._angles[0].to(device), model._angles[1].to(device))
    return model


def _there_and_back(compute: Callable[[Tensor], Tensor], device: str, x: Tensor) -> Tensor:
    return compute(x.to(device)).cpu()


def scored(model: Transformer, shards: Shards, device: str) -> float:
    """Bits per byte of the validation files."""
    if device != "cpu":  # what is scored comes and goes in the processor's memory
        for name in ("hidden", "logits"):
            setattr(model, name, functools.partial(_there_and_back, getattr(model, name), device))
    documents = [
        Tokens(ids.astype(int).tolist(), len(shards.tokenizer.decode_bytes(ids.tolist())))
        for ids in shards.validation.documents
    ]
    found = likelihoods(model, documents, shards.tokenizer.end_of_text)
    return sum(found, Likelihood(0.0, 0, 0)).bits_per_byte


def joined(batches: list[Batch], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and starts (B, T) of all windows."""
    arrays = ([b.inputs for b in batches], [b.targets for b in batches], [b.starts for b in batches])
    inputs, targets, starts = (torch.from_numpy(np.concatenate(a)).to(device, non_blocking=True) for a in arrays)
    return inputs, targets, starts


def trial(work: Path, recipe: Recipe, operations: float, seed: int) -> dict[str, float]:
    """Train once, and score the validation files. `work` is the run directory with the shards."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    device = recipe.device
    if device != "cpu":
        use_gpu_attention(device)
    bigram.PRIOR_PAIRS = recipe.prior_pairs or bigram.PRIOR_PAIRS
    bigram.EMBEDDING_RMS = recipe.embedding_rms or bigram.EMBEDDING_RMS
    schedule.DECAY_BEGINS = schedule.DECAY_BEGINS if recipe.decay_begins is None else recipe.decay_begins
    shards = Shards.load(RunDirectory(work))
    end_of_text, T = shards.tokenizer.end_of_text, recipe.context
    config = config_of(recipe, shards.tokenizer.vocabulary)
    model = Transformer(config, torch.bfloat16 if recipe.fast else torch.float32)
    parts = compiled_parts() if recipe.fast else PLAIN
    train = some_of(shards.train, recipe.share) if recipe.share < 1 else shards.train
    model.initialise(seed)
    if recipe.bigrams:
        bigram.start_from_bigrams(model, train.stream(end_of_text), seed)
    if recipe.induction:
        start_with_induction(model, seed)
    moved(model, device)
    decays = optim.OptimizerSettings(weight_decay=recipe.weight_decay, vocabulary_decay=recipe.vocabulary_decay)
    optimizer = optim.MuonAdamW(model, decays, model.dtype)
    dealt = deal(train.counts, [""] * len(train.counts), SPHERES, "even")
    order = WindowOrder(train.tokens, train.offsets, dealt, T, end_of_text, seed)
    names = Renaming(shards.tokenizer, recipe.renaming, seed)
    windows = max(1, TOKENS_AT_ONCE // T)  # of a microbatch
    microbatches = recipe.batch // windows
    at_once = 1 if device == "cpu" else microbatches
    steps = tokens = turn = 0
    parameters = list(model.parameters())
    begun, of_all = time.perf_counter(), operations / config.flops_per_token(T)
    while tokens < of_all:
        progress = tokens / of_all
        for parameter in parameters:
            parameter.grad = None
        targets = 0
        for _ in range(microbatches // at_once):
            batches = [
                names.apply(order.batch(n % SPHERES, n // SPHERES * windows, windows), n)
                for n in range(turn, turn + at_once)
            ]
            turn += at_once
            model(*joined(batches, device), parts, recipe.dropout).backward()
            targets += sum(int((batch.targets != NO_TARGET).sum()) for batch in batches)
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.div_(targets)
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.gather()
        optimizer.apply(schedule.learning_rate(recipe.learning_rate, progress, WARMUP))
        steps, tokens = steps + 1, tokens + recipe.batch * T
    trained, model = model, Transformer(config)
    model.load_state_dict(trained.state_dict())
    bits_per_byte = scored(moved(model, device), shards, device)
    seconds = time.perf_counter() - begun
    known, new = (
        sorted((shards.tokenizer.decode_bytes(ids.tolist()) for ids in split.documents), key=digest)
        for split in (train, shards.validation)
    )
    return {
        "ppmd_bits_per_byte": ppmd_bits_per_byte(known, new) or TYPICAL,
        "bits_per_byte": bits_per_byte, "steps": steps, "tokens": tokens, "parameters": config.parameters,
        "epochs": tokens / train.tokens.size, "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    """The trial that the argument describes."""
    given = json.loads(sys.argv[1])
    print(json.dumps(trial(Path(given["work"]), Recipe(**given["recipe"]), given["work_1e12"] * 1e12, given["seed"])))


if __name__ == "__main__":
    main()
