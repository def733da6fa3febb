"""nanochat's model, optimizer and schedules, from a checkout of it, on the same tokens for the same time.

Its `GPT` and `MuonAdamW` are imported, never copied; the rates, the decay and their scaling with the batch are those
of its scripts/base_train.py as of July 2026, the shape follows its dial: depth layers of 64 x depth features, heads of
64, as in its example for CPUs (runs/runcpu.sh), full attention in all layers. Two things differ: schedules follow the
time that is gone instead of steps, and windows are random ones as in benchmarks.reference, because its own packing
drops what is longer than a window, which is most of a file of code.

    python -m benchmarks.nanochat CHECKOUT tokens.npy --depth 4 --context 512 --batch-size 16

Prints one JSON object a step: step, tokens (so far), loss (nats per token), time (seconds since the epoch).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.reference import add_options

HEAD = ASPECT = 64
REFERENCE_DEPTH, REFERENCE_BATCH = 12, 2**19  # where its rates were tuned: layers, tokens a step
TOKENS_PER_WEIGHT = 12
WARMUP_STEPS, DECAY, FLOOR = 40, 0.65, 0.05  # steps; share of the time; the rate at the end, as a share of the peak
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class Config:
    """What `likelihoods` asks of a model."""

    vocabulary: int
    context: int


class Scored:
    """A trained GPT as `cllm.evaluation.likelihood` reads one: its "activations" are the scores themselves."""

    def __init__(self, gpt: Any, config: Config) -> None:
        self._gpt, self.config = gpt, config

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Scores (B, T, V) of the next token; a single position gets company, without which its forward does not do."""
        T = ids_BT.shape[1]
        scores: Tensor = self._gpt(torch.nn.functional.pad(ids_BT, (0, 1)) if T == 1 else ids_BT)
        return scores[:, :T]

    def logits(self, hidden: Tensor) -> Tensor:
        """The same again."""
        return hidden


def package(checkout: Path, precision: str) -> Any:
    """Its module `gpt`, computing in `precision`, which counts from the first import in a process."""
    os.environ["NANOCHAT_DTYPE"] = PRECISIONS[precision]
    sys.path.insert(0, str(checkout))
    try:
        from nanochat import gpt  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        sys.exit(f"{checkout}: not a checkout of nanochat, or something that it needs is missing: {error}")
    return gpt


def model_of(gpt: Any, depth: int, vocabulary: int, context: int) -> Any:
    """A GPT of `depth` layers, initialised."""
    config = gpt.GPTConfig(
        sequence_len=context, vocab_size=vocabulary, n_layer=depth, n_head=depth, n_kv_head=depth,
        n_embd=depth * ASPECT, window_pattern="L",
    )  # fmt: skip
    with torch.device("meta"):
        model = gpt.GPT(config)
    model.to_empty(device="cpu")
    model.init_weights()
    return model


def scaling_weights(depth: int, vocabulary: int) -> int:
    """Weights of the layers and of the output layer, which its scaling goes by."""
    width = depth * ASPECT
    return 12 * depth * width**2 + vocabulary * width


def optimizer_of(model: Any, depth: int, vocabulary: int, batch_tokens: int) -> Any:
    """MuonAdamW with the rates and the decay that its training script gives this depth and batch."""
    rate = (batch_tokens / REFERENCE_BATCH) ** 0.5
    horizon = scaling_weights(REFERENCE_DEPTH, vocabulary) / scaling_weights(depth, vocabulary)
    return model.setup_optimizer(
        unembedding_lr=0.008 * rate, embedding_lr=0.3 * rate, scalar_lr=0.5 * rate, matrix_lr=0.02 * rate,
        weight_decay=0.28 * rate * horizon,
    )  # fmt: skip


def left_of_decay(progress: float) -> float:
    """What is left of the last `DECAY` of the time, from 1 before it begins to 0 at the end."""
    return max(0.0, min(1.0, (1 - progress) / DECAY))


def rate_share(step: int, progress: float) -> float:
    """The share of the peak rate: a warm-up in steps, and a linear decay over the last `DECAY` of the time."""
    if step < WARMUP_STEPS:
        return (step + 1) / WARMUP_STEPS
    left = left_of_decay(progress)
    return left + (1 - left) * FLOOR


def momentum_of(step: int, progress: float) -> float:
    """Muon's momentum: up from 0.85 to 0.97 in 400 steps, down to 0.90 while the rate decays."""
    if step < 400:
        return 0.85 + (0.97 - 0.85) * step / 400
    return 0.90 + (0.97 - 0.90) * left_of_decay(progress)


def train(arguments: argparse.Namespace) -> None:
    """Train until the time is over, which counts from the start of the process, printing a line a step."""
    began = psutil.Process().create_time()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokens = np.load(arguments.tokens, mmap_mode="r", allow_pickle=False)
    T, batch_tokens = arguments.context, arguments.batch_size * arguments.context
    gpt = model_of(package(arguments.checkout, arguments.precision), arguments.depth, arguments.vocabulary, T)
    model = torch.compile(gpt, dynamic=False) if arguments.compile else gpt
    optimizer = optimizer_of(gpt, arguments.depth, arguments.vocabulary, batch_tokens)
    decay = {id(group): group.get("weight_decay", 0.0) for group in optimizer.param_groups}
    draw = np.random.default_rng(arguments.seed)
    step, step_s = 0, 0.0
    while (now := time.time()) + step_s < began + arguments.seconds:
        progress = (now - began) / arguments.seconds
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate_share(step, progress)
            if group["kind"] == "muon":
                group["momentum"] = momentum_of(step, progress)
                group["weight_decay"] = decay[id(group)] * 0.5 * (1 + math.cos(math.pi * progress))
        starts = draw.integers(0, len(tokens) - T, arguments.batch_size)
        windows = torch.from_numpy(np.stack([tokens[s : s + T + 1] for s in starts]).astype(np.int64))
        loss = model(windows[:, :-1].contiguous(), windows[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        gpt.zero_grad(set_to_none=True)
        step += 1
        done = time.time()
        step_s = done - now if step > 1 else 0.0  # the first one compiles
        print(json.dumps({"step": step, "tokens": step * batch_tokens, "loss": loss.item(), "time": done}), flush=True)
    if arguments.save is not None:
        facts = {name: str(getattr(arguments, name)) for name in ("depth", "vocabulary", "context")}
        save_file({name: p.detach().clone() for name, p in gpt.named_parameters()}, arguments.save, metadata=facts)


def load_model(checkout: Path, path: Path) -> Scored:
    """The model in a file that `--save` has written, for use in fp32."""
    gpt = package(checkout, "fp32")
    with safe_open(path, framework="pt") as stored:
        facts = {name: int(value) for name, value in stored.metadata().items()}
        model = model_of(gpt, **facts)
        model.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()}, strict=False)  # noqa: SIM118
    return Scored(model.eval().requires_grad_(False), Config(facts["vocabulary"], facts["context"]))


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nanochat", description=about)
    parser.add_argument("checkout", type=Path, help="a directory with nanochat's sources")
    add_options(parser, depth=4, context=512, batch_size=16)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
