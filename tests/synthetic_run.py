"""Makes the store of a run as a training writes it, with known figures, to judge reports by."""

from __future__ import annotations

import json
import math
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cllm import events
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.workspace import RunDirectory

START = 1_760_000_000.0  # seconds since the epoch
TOKENS_PER_STEP = 8192
STEP_S = 0.5


@dataclass
class SyntheticRun:
    """A run of `epochs * steps_per_epoch` steps of which the first `until` are done.

    The loss falls from 8.5 to about 1.5 with noise; each sphere gets an even share, `idle` ones nothing.
    """

    path: Path
    epochs: int = 10
    steps_per_epoch: int = 48
    until: int | None = None
    spheres: int = 12
    idle: tuple[int, ...] = ()
    state: str | None = "done"
    noise: float = 0.08
    seed: int = 0
    time: float = START
    settings: dict[str, Any] = field(default_factory=dict)
    model: tuple[Path, str] | None = None  # the file of the last checkpoint, and the digest of its weights

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def loss(self, step: int) -> float:
        return 1.4 + 7.1 * math.exp(-3.9 * (step - 1) / self.steps) ** 1.1

    def write(self) -> RunDirectory:
        """Everything: config.json, run.sqlite, exit.json."""
        self.path.mkdir(parents=True)
        run = RunDirectory(self.path)
        settings = TrainSettings(epochs=self.epochs, spheres=self.spheres, **self.settings)
        run.config.write_text(json.dumps({"settings": settings.model_dump(), "paths": ["src"]}))
        with RunStore(run.store):
            pass
        with sqlite3.connect(run.store) as db:
            self._db = db
            self._write_events()
        db.close()
        if self.state in ("done", "stopped", "failed"):
            reason = {"done": "", "stopped": "a person stopped it", "failed": "rank 1 died"}[self.state]
            run.exit.write_text(json.dumps({"state": self.state, "reason": reason, "exit_code": 0}))
        return run

    def append(self, kind: str, data: dict[str, Any], seconds: float = 0.0) -> None:
        """An event `seconds` after the one before it. (The store itself stamps events with the clock's time.)"""
        self.time += seconds
        self._db.execute("INSERT INTO events (time, kind, data) VALUES (?, ?, ?)", (self.time, kind, json.dumps(data)))

    def _write_events(self) -> None:
        self.append(events.STAGE, {"stage": "scanning", "done": 1, "total": 1, "note": ""})
        self.append(
            events.CORPUS,
            {
                "files": 412,
                "bytes": 7_200_000,
                "tokens": 2_100_000,
                "train_bytes": 6_500_000,
                "validation_bytes": 360_000,
                "test_bytes": 340_000,
                "languages": {"python": 400, "c": 12},
                "left_out": {"generated": 9, "binary": 3},
            },
            5.0,
        )
        self.append(
            events.PLAN,
            {
                "size": "small",
                "parameters": 4_900_000,
                "vocabulary": 4096,
                "context": 256,
                "batch_size": 32,
                "microbatches": 4,
                "ranks": 2,
                "threads_per_rank": 1,
                "precision": "bf16",
                "compile": False,
                "steps": self.steps,
                "epochs": self.epochs,
                "tokens_per_step": TOKENS_PER_STEP,
                "windows_per_epoch": 32 * self.steps_per_epoch,
                "learning_rate": 1e-3,
                "notes": ["small was the largest size that fits the time"],
            },
            2.0,
        )
        done = self.steps if self.until is None else self.until
        if done:
            self._validation(0)
        draws = np.random.default_rng(self.seed).normal(0, self.noise, self.steps)
        best = math.inf
        for step in range(1, done + 1):
            best = self._step(step, float(draws[step - 1]), best)
        if self.model is not None:
            path, digest = self.model
            where = {"path": str(path), "weights_sha256": digest, "bytes": path.stat().st_size}
            when = {"step": done, "epoch": done / self.steps_per_epoch, "seconds": 0.1}
            self.append(events.CHECKPOINT, {"kind": "final" if done == self.steps else "save", **where, **when}, 0.1)
        if self.state in ("done", "stopped", "failed"):
            self.append(events.RESULT, {"state": self.state})

    def _step(self, step: int, draw: float, best: float) -> float:
        loss = self.loss(step) + draw
        best = min(best, loss)
        epoch = step / self.steps_per_epoch
        warm = min(1.0, step / 10)
        share = step / self.steps
        rate = 1e-3 * warm * (1 if share < 0.6 else max(0.0, (1 - share) / 0.4))
        elapsed = STEP_S * step
        self.append(
            events.STEP,
            {
                "step": step,
                "steps": self.steps,
                "epoch": epoch,
                "loss": loss,
                "best_loss": best,
                "grad_norm": 0.5 + 2 / step,
                "learning_rate": rate,
                "tokens": TOKENS_PER_STEP * step,
                "tokens_per_s": TOKENS_PER_STEP / STEP_S,
                "step_s": 0.9 * STEP_S,
                "elapsed_s": elapsed,
                "eta_s": STEP_S * (self.steps - step),
                "progress": share,
            },
            STEP_S,
        )
        if step % 4 == 0 or step == self.steps:
            self._spheres(step, loss)
            self.append(
                events.USAGE,
                {
                    "rss_bytes": 700_000_000,
                    "peak_rss_bytes": 800_000_000 + step,
                    "cpu_percent": 190.0,
                    "read_bytes": 1_000_000,
                    "write_bytes": 100_000 * step,
                },
            )
        if step % self.steps_per_epoch == 0:
            self._validation(step)
        return best

    def _validation(self, step: int) -> None:
        loss = self.loss(max(1, step)) + 0.25
        bits = loss / 3.3 / math.log(2)  # 3.3 bytes a token
        known = {"loss": loss, "bits_per_byte": bits, "best_loss": loss, "best_bits_per_byte": bits}
        counted = {"tokens": 110_000, "bytes": 363_000, "seconds": 1.0, "improved": True}
        self.append(events.VALIDATION, {"step": step, "epoch": step / self.steps_per_epoch, **known, **counted})

    def _spheres(self, step: int, loss: float) -> None:
        working = [s for s in range(self.spheres) if s not in self.idle]
        each = []
        for sphere in range(self.spheres):
            turn = working.index(sphere) if sphere in working else None
            count = 0 if turn is None else (4 * step - turn + len(working) - 1) // len(working)
            each.append(
                {
                    "sphere": sphere,
                    "microbatches": count,
                    "tokens": 2048 * count,
                    "loss": loss + 0.01 * sphere if count else None,
                    "activity": 0.0 if turn is None else 1.0,
                    "state": "idle" if turn is None else "active",
                }
            )
        self.append(events.SPHERES, {"step": step, "spheres": each})


def write_model(path: Path, run: str) -> str:
    """A real, untrained model of a few thousand weights at `path`; returns the digest of its weights."""
    import torch

    from cllm import __version__, checkpoint
    from cllm.container import Header
    from cllm.model.config import ModelConfig
    from cllm.model.transformer import Transformer
    from cllm.tokenizer import Tokenizer

    tokenizer = Tokenizer.train(["def f(x):\n    return x\n"] * 3, 280)
    config = ModelConfig(
        vocabulary=320, context=64, layers=1, width=32, heads=2, kv_heads=1, head_width=16, ffn_width=64
    )
    torch.manual_seed(0)
    weights = Transformer(config).state_dict()
    digest = checkpoint.weights_sha256(weights)
    header = Header(
        kind="model",
        name="tiny",
        cllm_version=__version__,
        model=config.model_dump(),
        weights_sha256=digest,
        tokenizer_sha256=tokenizer.sha256,
        step=480,
        epoch=10.0,
        run=run,
        training={"bits_per_byte": 0.76},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(path, header, weights, tokenizer.to_json())
    return digest
