"""What CLLM is measured against: a plain PyTorch training loop, as it is usually written (nanoGPT is one of them).

The layout of GPT-2: LayerNorm, learned positions, fused query-key-value projection, scaled_dot_product_attention, a
GELU feed-forward four times as wide, tied embeddings. AdamW with gradient clipping, random windows of a token file, all
cores as threads of one process, fp32. Nothing in it is made slow on purpose; --compile and --precision bf16 make it
faster where the machine allows. With --decay the rate rises over 20 % of the time and follows a cosine to a tenth.

    python -m benchmarks.reference tokens.npy --layers 6 --width 256 --heads 4 --context 256 --batch-size 32

Prints one JSON object a step: step, tokens (so far), loss (nats per token), time (seconds since the epoch).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

WARMUP = 0.2  # share of the time; 0.02 and 0.1 were worse at the rates tried (docs/benchmarks.md)
FLOOR = 0.1  # the rate at the end, as a share of the peak


@dataclass(frozen=True)
class Shape:
    """The shape of a GPT-2 model, in tokens, layers, features and heads."""

    vocabulary: int
    context: int
    layers: int
    width: int
    heads: int

    @property
    def parameters(self) -> int:
        """Number of weights; the embedding counts once, being tied."""
        layer = 12 * self.width**2 + 13 * self.width
        return (self.vocabulary + self.context) * self.width + self.layers * layer + 2 * self.width

    def flops_per_token(self, context: int) -> float:
        """Floating point operations of forward and backward for one token, counted as for CLLM's own model."""
        return 6.0 * (self.parameters - self.context * self.width) + 6 * self.layers * self.width * context


class Block(nn.Module):
    """One pre-norm layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        B, T, D = x_BTD.shape
        qkv = self.qkv(self.norm_1(x_BTD)).view(B, T, 3, self.heads, D // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x_BTD = x_BTD + self.out(attended.transpose(1, 2).reshape(B, T, D))
        out: Tensor = x_BTD + self.down(F.gelu(self.up(self.norm_2(x_BTD))))
        return out


class GPT(nn.Module):
    """A decoder in the layout of GPT-2 (Radford et al. 2019)."""

    def __init__(self, config: Shape) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tokens, self.positions = nn.Embedding(config.vocabulary, width), nn.Embedding(config.context, width)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):  # projections to the residual stream, as in GPT-2
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.layers))

    def hidden(self, ids_BT: Tensor) -> Tensor:
        """Activations (B, T, D) after the last norm."""
        x = self.tokens(ids_BT) + self.positions(torch.arange(ids_BT.shape[1]))
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores (..., V) of the next token."""
        out: Tensor = self.head(hidden)
        return out

    def forward(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean loss in nats per token."""
        return F.cross_entropy(self.logits(self.hidden(ids_BT)).flatten(0, 1).float(), targets_BT.flatten())


def save_model(gpt: GPT, path: Path) -> None:
    """Weights and shape as a safetensors file."""
    weights = {name: p.detach().clone() for name, p in gpt.named_parameters()}  # the tied one is there once
    save_file(weights, path, metadata={name: str(value) for name, value in asdict(gpt.config).items()})


def load_model(path: Path) -> GPT:
    """The model in a file of `save_model`, for use."""
    with safe_open(path, framework="pt") as stored:
        gpt = GPT(Shape(**{name: int(value) for name, value in stored.metadata().items()}))
        gpt.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()}, strict=False)  # noqa: SIM118
    return gpt.eval().requires_grad_(False)


def decayed(peak: float, progress: float) -> float:
    """The learning rate when `progress` (0..1) of the time is gone: linear warm-up, then a cosine down to `FLOOR`."""
    if progress < WARMUP:
        return peak * max(0.01, progress / WARMUP)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARMUP) / (1 - WARMUP))))
    return peak * (FLOOR + (1 - FLOOR) * cosine)


def optimizer_of(gpt: GPT, rate: float) -> torch.optim.AdamW:
    """AdamW as nanoGPT sets it: decay of the matrices alone."""
    matrices = [p for p in gpt.parameters() if p.ndim >= 2]
    others = [p for p in gpt.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def train(arguments: argparse.Namespace) -> None:
    """Train until the time is over, which counts from the start of the process, printing a line a step."""
    began = psutil.Process().create_time()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    tokens = np.load(arguments.tokens, mmap_mode="r", allow_pickle=False)
    T = arguments.context
    gpt = GPT(Shape(arguments.vocabulary, T, arguments.layers, arguments.width, arguments.heads))
    model = torch.compile(gpt) if arguments.compile else gpt
    optimizer = optimizer_of(gpt, arguments.learning_rate)
    draw = np.random.default_rng(arguments.seed)
    step, step_s = 0, 0.0
    while (now := time.time()) + step_s < began + arguments.seconds:
        rate = arguments.learning_rate
        if arguments.decay:
            rate = decayed(rate, (now - began) / arguments.seconds)
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = draw.integers(0, len(tokens) - T, arguments.batch_size)
        windows = torch.from_numpy(np.stack([tokens[s : s + T + 1] for s in starts]).astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            loss = model(windows[:, :-1], windows[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        step += 1
        done = time.time()
        step_s = done - now if step > 1 else 0.0  # the first one compiles
        line = {"step": step, "tokens": step * arguments.batch_size * T, "loss": loss.item(), "time": done}
        print(json.dumps(line), flush=True)
    if arguments.save is not None:
        save_model(gpt, arguments.save)


def add_options(parser: argparse.ArgumentParser, **sizes: int) -> None:
    """The options that loops have in common, and the whole numbers `sizes` with their defaults."""
    parser.add_argument("tokens", type=Path, help="a .npy file of token ids")
    for name, default in {**sizes, "vocabulary": 4096}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--seconds", type=float, default=20.0, help="from the start of the process; default: 20")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--compile", action="store_true", help="use torch.compile for the model")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--save", type=Path, help="write the model here, as safetensors")


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=about)
    add_options(parser, layers=6, width=256, heads=4, context=256, batch_size=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="default: 0.001")
    parser.add_argument("--decay", action="store_true", help="warm up, and decay to the end of the time")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
