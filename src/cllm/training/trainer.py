"""One rank's share of the arithmetic: `train_step`, and the state that it changes.

When to validate, save or stop is the business of `cllm.training.loop`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cllm.machine import Precision, measure_gemm
from cllm.model.bigram import start_from_bigrams
from cllm.model.heads import start_with_induction
from cllm.model.optim import MuonAdamW, OptimizerSettings
from cllm.model.transformer import PLAIN, Transformer
from cllm.order import NO_TARGET, Batch, WindowOrder
from cllm.settings import TrainSettings
from cllm.training.compiling import Kernels
from cllm.training.kernels import Shape
from cllm.training.plan import Plan
from cllm.training.recorder import SphereCount, Totals
from cllm.training.reducer import ExactReducer, FastReducer
from cllm.training.renaming import Renaming
from cllm.training.schedule import learning_rate
from cllm.training.shards import Shards

CLIP_NORM = 1.0
GEMM_S = 0.2  # for which the speed of matrix products is measured


@dataclass(frozen=True)
class Step:
    """What one step gave; the same on every rank."""

    spheres: list[int]
    tokens: list[int]  # targets of each microbatch
    loss: float  # nats per token
    grad_norm: float
    learning_rate: float
    progress: float  # of the run, 0..1, when the step began, as rank 0 saw it
    flags: int  # what rank 0 asks all ranks to do after the step


class NonFiniteStep(Exception):
    """Loss or gradient norm of a step is not finite; weights and optimizer are as before it."""


def as_tensors(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets and starts, (B, T) each."""
    return torch.from_numpy(batch.inputs), torch.from_numpy(batch.targets), torch.from_numpy(batch.starts)


class Trainer:
    """Model, optimizer, data order and reducer of one rank. All ranks hold the same weights, bit for bit."""

    def __init__(self, plan: Plan, settings: TrainSettings, shards: Shards, rank: int) -> None:
        self.plan, self.rank = plan, rank
        self.totals = Totals(spheres=[SphereCount() for _ in range(plan.spheres)])
        dtype = torch.bfloat16 if plan.precision == "bf16" else torch.float32
        self.model = Transformer(plan.model, dtype)
        self.model.initialise(settings.seed)
        self._seed = settings.seed
        self.optimizer = MuonAdamW(self.model, OptimizerSettings(weight_decay=plan.weight_decay), dtype)
        self._shares = self.optimizer.shares(plan.ranks)
        self._parameters = list(self.model.parameters())
        self._weights = sum(p.numel() for p in self._parameters)
        # What is summed over the microbatches: the gradient, the loss and the number of targets of each microbatch,
        # and rank 0's word on progress and flags.
        self._sum = torch.zeros(self._weights + 2 * plan.microbatches + 2)
        reducer = ExactReducer if settings.reducer == "exact" else FastReducer
        self._reducer = reducer(plan.microbatches, rank, plan.ranks, self._sum)
        self._order = WindowOrder(
            shards.train.tokens,
            shards.train.offsets,
            shards.deal(plan.spheres, settings.deal),
            plan.context,
            shards.tokenizer.end_of_text,
            settings.seed,
        )
        self._renaming = Renaming(shards.tokenizer, plan.renaming, settings.seed)
        self._word = torch.zeros(2)
        self._parts = PLAIN
        self.kernels, self.compiled = Kernels(Shape.of(plan)), False
        self._snapshot: dict[str, Any] = {}

    @property
    def epoch(self) -> float:
        """Passes through the data so far."""
        return self.totals.step / self.plan.steps_per_epoch

    def spheres_of(self, step: int) -> list[int]:
        """The K spheres whose turn it is, in rotation round the ring."""
        first = step * self.plan.microbatches
        return [(first + k) % self.plan.spheres for k in range(self.plan.microbatches)]

    def begin(self, shards: Shards) -> None:
        """The weights of a new run: what counting knows of its tokens, and heads that look for repetitions."""
        if self.rank == 0:
            start_from_bigrams(self.model, shards.train.stream(shards.tokenizer.end_of_text), self._seed)
            start_with_induction(self.model, self._seed)
        if self.plan.ranks > 1:
            for parameter in self._parameters:
                dist.broadcast(parameter.detach(), src=0)

    def train_step(self, progress: float, flags: int) -> Step:
        """Forward and backward of all microbatches, reduce, check, clip, step.

        Rank 0's `progress` (0..1) and `flags` hold, and reach all ranks. Raises `NonFiniteStep` before weights change.
        """
        K, n, spheres = self.plan.microbatches, self._weights, self.spheres_of(self.totals.step)
        self._word = torch.tensor([progress, float(flags)])
        total = self._reducer.reduce(self._microbatch)
        losses = total[n : n + K].tolist()
        counts = [int(count) for count in total[n + K : n + 2 * K].tolist()]
        progress, flags = total[-2].item(), int(total[-1].item())

        gradient = total[:n].div_(max(1, sum(counts)))
        grad_norm = gradient.norm().item()
        if not (math.isfinite(sum(losses)) and math.isfinite(grad_norm)):
            raise NonFiniteStep
        if grad_norm > CLIP_NORM:
            gradient.mul_(CLIP_NORM / grad_norm)

        rate = self.totals.rate_scale * learning_rate(self.plan.learning_rate, progress, self.plan.warmup)
        self._point_gradients_at(total)
        self.optimizer.gather(self._shares[self.rank])
        self._exchange_updates()
        self.optimizer.apply(rate)

        self.totals.add_step(spheres, losses, counts)
        return Step(spheres, counts, sum(losses) / max(1, sum(counts)), grad_norm, rate, progress, flags)

    def _microbatch(self, k: int, out: Tensor) -> None:
        """Add the gradient of microbatch k, its summed loss and its number of targets into `out`."""
        if k == 0:  # always on rank 0
            out[-2:] += self._word
        # What is dropped and renamed is decided by the microbatch alone, whichever rank computes it.
        number = self.totals.step * self.plan.microbatches + k
        batch = self._renaming.apply(self._batch(k), number)
        self._point_gradients_at(out)
        if self.plan.dropout:
            torch.manual_seed((self._seed << 32) + number)
        loss: Tensor = self.model(*as_tensors(batch), self._parts, self.plan.dropout)
        loss.backward()
        out[self._weights + k] = loss.detach()
        out[self._weights + self.plan.microbatches + k] = int((batch.targets != NO_TARGET).sum())

    def _batch(self, k: int) -> Batch:
        step, windows = self.totals.step, self.plan.windows_per_microbatch
        turn = step * self.plan.microbatches // self.plan.spheres  # how often this sphere has had its turn
        return self._order.batch(self.spheres_of(step)[k], turn * windows, windows)

    def _point_gradients_at(self, flat: Tensor) -> None:
        position = 0
        for parameter in self._parameters:
            parameter.grad = flat[position : position + parameter.numel()].view_as(parameter)
            position += parameter.numel()

    def _exchange_updates(self) -> None:
        """Give every rank the updates that the others have orthogonalised."""
        if self.plan.ranks > 1:
            for source, share in enumerate(self._shares):
                if share.groups:
                    dist.broadcast(self.optimizer.updates[share.first : share.end].view(torch.uint8), src=source)

    def agree(self, word: bool) -> bool:
        """Rank 0's `word`, on every rank."""
        said = torch.tensor([float(word)])
        if self.plan.ranks > 1:
            dist.broadcast(said, src=0)
        return bool(said.item())

    def gemm_gflops(self) -> float:
        """GFLOP/s of matrix products on all ranks at once, in the precision and with the threads of the training."""
        precision: Precision = "bf16" if self.plan.precision == "bf16" else "fp32"
        speed = torch.tensor([measure_gemm(precision, self.plan.threads_per_rank, GEMM_S)])
        if self.plan.ranks > 1:
            dist.all_reduce(speed)
        return speed.item()

    def use_compiled(self) -> bool:
        """Load, or make, the compiled model, by a forward and backward pass that changes nothing.

        Where that is not possible on some rank, no rank uses it. Returns whether the compiled model is used.
        """
        failed = torch.zeros(1)
        try:
            compiled = self.kernels.load()
            self._point_gradients_at(self._sum)
            self.model(*as_tensors(self._batch(0)), compiled, self.plan.dropout).backward()
        except Exception:  # whatever a compiler or its absence raises: the plain model does the same work
            failed += 1
        if self.plan.ranks > 1:
            dist.all_reduce(failed)
        if not failed.item():
            self._parts = compiled
            self.compiled = True
        return self.compiled

    def take_snapshot(self) -> None:
        """Keep a copy of the state in memory, to go back to."""
        self._snapshot = {
            "weights": {n: t.clone() for n, t in self.model.state_dict().items()},
            "optimizer": {n: t.clone() for n, t in self.optimizer.state().items()},
            "totals": self.totals.as_state(),
        }

    def go_back(self, rate_scale: float) -> None:
        """Return to the snapshot, with the learning rate scaled from there on."""
        self.load(self._snapshot["weights"], self._snapshot["optimizer"], self._snapshot["totals"])
        self.totals.rate_scale = rate_scale

    def load(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], totals: dict[str, Any]) -> None:
        """Continue from a state. Raises `KeyError` or `RuntimeError` if it is of another model."""
        self.model.load_state_dict(dict(weights))
        self.optimizer.load(optimizer)
        self.totals.take_over(totals)
