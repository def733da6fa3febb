"""The trainers that `cllm train` is measured against: how each is run, and what is chosen for it beforehand.

Each has one dial, a learning rate or a depth, which is set to the best of a few trials on the *validation* files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import nanochat, reference
from benchmarks.measure import output_of
from benchmarks.points import Point, Points
from benchmarks.quality_data import Prepared, loop_bits_per_byte
from cllm.machine import bf16_pays, has_cpp_compiler
from cllm.model.config import config_for

NAMES = {"plain": "plain loop, fp32", "compiled": "plain loop, compiled", "nanochat": "nanochat"}
GRID_STEP = 2.0  # a grid of rates grows by this factor while its best is at an edge
MOST_RATE, LEAST_RATE = 0.02, 5e-5


@dataclass(frozen=True)
class Loop:
    """A trainer that reads a file of tokens, run as a module."""

    maker: str
    command: Callable[[Prepared], list[str]]
    about: Point
    """What a run of it is, but for its dial, seed and time."""
    dial: str
    values: Sequence[float]
    load: Callable[[Path], Any]
    options: Sequence[str]
    grows: bool

    def run(self, data: Prepared, minutes: float, seed: int, value: float, split: str) -> Point:
        """One run, which has what is left of `minutes` after preparing, measured on `split`."""
        seconds = minutes * 60 - data.seconds
        if seconds < 5:
            sys.exit(f"{data.corpus.name}: preparing takes {data.seconds:.0f} s: --minutes {minutes:g} is too short")
        with tempfile.TemporaryDirectory() as name:
            model = Path(name) / "model.safetensors"
            lines, wall_s = output_of(
                [
                    sys.executable, "-m", *self.command(data), f"--vocabulary={data.vocabulary}",
                    f"--seconds={seconds}", f"--seed={seed}", f"--save={model}", *self.options,
                    f"--{self.dial.replace('_', '-')}={value:g}",
                ],
                Path(name),
            )  # fmt: skip
            likelihood = loop_bits_per_byte(self.load(model), data, split)
        return {
            "minutes": minutes, "seed": seed, "wall_s": wall_s + data.seconds, self.dial: value, "split": split,
            "bits_per_byte": likelihood.bits_per_byte, "test_bytes": likelihood.bytes,
            "tokens": lines[-1]["tokens"], "options": list(self.options), "loop": self.about,
        }  # fmt: skip

    def best(self, points: Points, data: Prepared, minutes: float) -> float:
        """The dial of the lowest validation figure after `minutes`; the only one there is costs no trial."""
        if len(self.values) == 1 and not self.grows:
            return self.values[0]
        key = {
            "kind": "grid", "corpus": data.corpus.name, "sha256": data.corpus.sha256, "maker": self.maker,
            "minutes": minutes, "loop": self.about,
        }  # fmt: skip
        values = sorted(self.values)
        while True:
            found = {}
            for value in values:
                point = points.find(**key, **{self.dial: value}) or points.add(
                    key | self.run(data, minutes, 0, value, "validation")
                )
                found[value] = point["bits_per_byte"]
            best = min(found, key=lambda value: found[value])
            if self.grows and best == values[-1] and best * GRID_STEP <= MOST_RATE:
                values.append(best * GRID_STEP)
            elif self.grows and best == values[0] and best / GRID_STEP >= LEAST_RATE:
                values.insert(0, best / GRID_STEP)
            else:
                return best


def fastest() -> list[str]:
    """The options with which a loop is fastest on this machine."""
    return [*(["--compile"] if has_cpp_compiler() else []), *(["--precision=bf16"] if bf16_pays() else [])]


def plain_loop(maker: str, arguments: argparse.Namespace) -> Loop:
    """benchmarks.reference, as it comes or compiled."""

    def command(data: Prepared) -> list[str]:
        shape = config_for(arguments.size, data.vocabulary, arguments.context)
        return [
            reference.__name__, str(data.tokens.resolve()), "--decay", f"--layers={shape.layers}",
            f"--width={shape.width}", f"--heads={shape.heads}", f"--context={arguments.context}",
            f"--batch-size={arguments.batch_size}",
        ]  # fmt: skip

    about = {n: getattr(arguments, n) for n in ("size", "context", "batch_size", "vocabulary")}
    rates = [arguments.learning_rate] if arguments.learning_rate else [float(r) for r in arguments.grid.split(",")]
    return Loop(
        maker, command, about | {"warmup": reference.WARMUP}, "learning_rate", rates, reference.load_model,
        fastest() if maker == "compiled" else [], grows=not arguments.learning_rate,
    )  # fmt: skip


def nanochat_loop(arguments: argparse.Namespace) -> Loop:
    """benchmarks.nanochat, as fast as it goes here."""
    if arguments.nanochat is None:
        sys.exit("--makers nanochat needs --nanochat DIRECTORY, a checkout of its sources")
    checkout = arguments.nanochat.resolve()

    def command(data: Prepared) -> list[str]:
        return [
            nanochat.__name__, str(checkout), str(data.tokens.resolve()),
            f"--context={arguments.nanochat_context}", f"--batch-size={arguments.nanochat_batch_size}",
        ]  # fmt: skip

    about = {
        "context": arguments.nanochat_context, "batch_size": arguments.nanochat_batch_size,
        "vocabulary": arguments.vocabulary,
    }  # fmt: skip
    depths = [float(depth) for depth in arguments.depths.split(",")]
    load = partial(nanochat.load_model, checkout)
    return Loop("nanochat", command, about, "depth", depths, load, fastest(), grows=False)


def loop_of(maker: str, arguments: argparse.Namespace) -> Loop:
    """The loop of this name, with what the command line says of it."""
    return nanochat_loop(arguments) if maker == "nanochat" else plain_loop(maker, arguments)
