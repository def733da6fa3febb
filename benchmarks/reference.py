"""What CLLM's speed is measured against: a plain fp32 PyTorch training loop, as it is usually written.

The layout of GPT-2: LayerNorm, learned positions, fused query-key-value projection, scaled_dot_product_attention, a
GELU feed-forward four times as wide, tied embeddings. AdamW with gradient clipping, random windows of a token file, all
cores as threads of one process. Nothing in it is made slow on purpose, and nothing is tuned.

    python -m benchmarks.reference tokens.npy --layers 6 --width 256 --heads 4 --context 256 --batch-size 32

Prints one JSON object a step: step, tokens (so far), loss (nats per token), time (seconds since the epoch).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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

    def __init__(self, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids_BT: Tensor, targets_BT: Tensor) -> Tensor:
        """Mean loss in nats per token."""
        x = self.tokens(ids_BT) + self.positions(torch.arange(ids_BT.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets_BT.flatten())


def train(arguments: argparse.Namespace) -> None:
    """Train until the time is over, printing a line a step."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    tokens = np.load(arguments.tokens, mmap_mode="r", allow_pickle=False)
    T = arguments.context
    gpt = GPT(arguments.vocabulary, T, arguments.layers, arguments.width, arguments.heads)
    model = torch.compile(gpt) if arguments.compile else gpt
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    draw = np.random.default_rng(0)
    end = time.monotonic() + arguments.seconds
    step = 0
    while time.monotonic() < end:
        starts = draw.integers(0, len(tokens) - T, arguments.batch_size)
        windows = torch.from_numpy(np.stack([tokens[s : s + T + 1] for s in starts]).astype(np.int64))
        loss = model(windows[:, :-1], windows[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(gpt.parameters(), 1.0)
        optimizer.step()
        step += 1
        line = {
            "step": step, "tokens": step * arguments.batch_size * T, "loss": loss.item(), "time": time.time(),
        }  # fmt: skip
        print(json.dumps(line), flush=True)


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reference", description=about)
    parser.add_argument("tokens", type=Path, help="a .npy file of token ids")
    for name, default in (("layers", 6), ("width", 256), ("heads", 4), ("context", 256), ("batch-size", 32)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    parser.add_argument("--vocabulary", type=int, default=4096, help="default: 4096")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all cores")
    parser.add_argument("--seconds", type=float, default=20.0, help="default: 20")
    parser.add_argument("--compile", action="store_true", help="use torch.compile")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
