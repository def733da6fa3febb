"""Tokens per second of `cllm train` against plain PyTorch loops with a model of the same shape, at three shapes.

The loop is benchmarks/reference.py, in fp32 as it comes, compiled, and compiled in bf16 where this processor gains by
that. All run as real processes on the same tokens, in turn, so that a machine that gets slower or faster meets all of
them. The time for preparing the data and for compiling is not counted; it is in the run's own figures.

    python -m benchmarks.throughput [PATH...]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from benchmarks.gemm import ABOUT, gemm_gflops
from benchmarks.measure import Speed, command_line, machine, speed, spread, table, trainer, write_results
from benchmarks.plots import Bar, bars, rounds_note
from benchmarks.reference import Shape
from cllm.machine import Precision, bf16_pays, has_cpp_compiler, mfu
from cllm.model.config import config_for

OURS = "cllm train"
PLAIN: dict[str, tuple[Precision, bool]] = {  # name -> (precision, compiled)
    "plain, fp32": ("fp32", False),
    "plain, fp32, compiled": ("fp32", True),
    "plain, bf16, compiled": ("bf16", True),
}


@dataclass
class Measured:
    """What was found at one shape, by who made it."""

    speeds: dict[str, list[Speed]] = field(default_factory=dict)
    gflops: dict[str, list[float]] = field(default_factory=dict)  # by precision
    plan: dict[str, Any] = field(default_factory=dict)

    def rate(self, name: str) -> dict[str, float]:
        """Tokens/s: median, lowest, highest."""
        return spread([s.tokens_per_s for s in self.speeds[name]])

    def ratio(self, name: str) -> dict[str, float]:
        """Ours to `name`, round by round."""
        pairs = zip(self.speeds[OURS], self.speeds[name], strict=True)
        return spread([ours.tokens_per_s / other.tokens_per_s for ours, other in pairs])

    def share(self, name: str) -> float:
        """MFU of the median."""
        context = self.plan["context"]
        if name == OURS:
            precision = self.plan["precision"]
            flops = config_for(self.plan["size"], self.plan["vocabulary"], context).flops_per_token(context)
        else:
            precision = PLAIN[name][0]
            flops = plain_shape(self.plan).flops_per_token(context)
        return mfu(self.rate(name)["median"], flops, statistics.median(self.gflops[precision]))


def plain_shape(plan: dict[str, Any]) -> Shape:
    """The plain model of the same vocabulary, context, layers, width and heads."""
    config = config_for(plan["size"], plan["vocabulary"], plan["context"])
    return Shape(config.vocabulary, plan["context"], config.layers, config.width, config.heads)


def loops(wanted: str) -> list[str]:
    """The plain loops that this machine can run: "auto" leaves out what it has no compiler or no fast bf16 for."""
    if wanted != "auto":
        chosen = [name for name in PLAIN if name.removeprefix("plain, ").replace(", ", "+") in wanted.split(",")]
        if not chosen:
            sys.exit(f"--loops {wanted}: give auto, or some of fp32, fp32+compiled, bf16+compiled")
        return chosen
    return [n for n, (p, c) in PLAIN.items() if (not c or has_cpp_compiler()) and (p == "fp32" or bf16_pays())]


def measure(size: str, arguments: argparse.Namespace, directory: Path) -> Measured:
    """The speeds of every round at one shape."""
    corpus = [str(path.resolve()) for path in arguments.paths] or ["--stdlib"]
    options = [
        f"--size={size}", f"--context={arguments.context}", f"--batch-size={arguments.batch_size}",
        f"--vocabulary={arguments.vocabulary}", f"--compile={arguments.compile}",
        f"--precision={arguments.precision}",
    ]  # fmt: skip
    names = loops(arguments.loops)
    found = Measured({name: [] for name in (OURS, *names)})
    for number in range(arguments.rounds):
        ours = speed(trainer(corpus, *options), directory, arguments.seconds)
        found.speeds[OURS].append(ours)
        found.plan = ours.events["plan"]
        tokens = sorted(directory.glob("runs/*/data/train_tokens.npy"))[-1]
        shape = plain_shape(found.plan)
        reference = [
            sys.executable, "-m", "benchmarks.reference", str(tokens), f"--vocabulary={shape.vocabulary}",
            f"--layers={shape.layers}", f"--width={shape.width}", f"--heads={shape.heads}",
            f"--context={shape.context}", f"--batch-size={found.plan['batch_size']}", "--seconds=100000",
        ]  # fmt: skip
        for name in names:
            precision, compiled = PLAIN[name]
            more = [f"--precision={precision}", *(["--compile"] if compiled else [])]
            found.speeds[name].append(speed([*reference, *more], directory, arguments.seconds))
        for precision in {cast(Precision, found.plan["precision"]), *(PLAIN[name][0] for name in names)}:
            found.gflops.setdefault(precision, []).append(gemm_gflops(precision))
        rates = ", ".join(f"{name} {speeds[-1].tokens_per_s:,.0f}" for name, speeds in found.speeds.items())
        print(f"{size}, round {number + 1} of {arguments.rounds}: {rates} tokens/s", file=sys.stderr)
    return found


def text_of(found: dict[str, Measured]) -> str:
    """The table and what is to be said about it."""
    rows = []
    for measured in found.values():
        for name in measured.speeds:
            rate = measured.rate(name)
            times = measured.ratio(name)
            rows.append([
                measured.plan["size"], name, f"{rate['median']:,.0f}",
                f"{rate['lowest']:,.0f} to {rate['highest']:,.0f}",
                f"{100 * measured.share(name):.0f} %",
                "" if name == OURS else f"{times['median']:.2f} ({times['lowest']:.2f} to {times['highest']:.2f})",
            ])  # fmt: skip
    header = ["Model", "Loop", "tokens/s, median", "lowest to highest", "MFU", "cllm train is faster by"]
    text = table(header, rows) + "\n"
    for measured in found.values():
        plan = measured.plan
        speeds = ", ".join(f"{p} {statistics.median(v):,.0f}" for p, v in sorted(measured.gflops.items()))
        text += (
            f"{plan['size']}: vocabulary {plan['vocabulary']}, context {plan['context']}, {plan['batch_size']} windows "
            f"a step; cllm train: {plan['ranks']} ranks of {plan['threads_per_rank']} threads, {plan['precision']}, "
            f"compile {'on' if plan['compile'] else 'off'}; matrix products: {speeds} GFLOP/s.\n"
        )
    return f"{text}{ABOUT}.\n"


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=about)
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: Python's standard library")
    parser.add_argument("--sizes", default="3x128,4x192,6x256", help="model sizes; default: 3x128,4x192,6x256")
    parser.add_argument("--context", type=int, default=256, help="default: 256 tokens")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32 windows")
    parser.add_argument("--vocabulary", type=int, default=4096, help="default: 4096")
    parser.add_argument("--precision", default="auto", help="of cllm train; default: auto")
    parser.add_argument("--compile", default="on", help="of cllm train: on, off or auto; default: on")
    parser.add_argument("--loops", default="auto", help="plain ones: fp32,fp32+compiled,bf16+compiled; default: auto")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured for each process and round; default: 15")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    found = {}
    for size in arguments.sizes.split(","):
        with tempfile.TemporaryDirectory() as directory:
            found[size] = measure(size, arguments, Path(directory))
    results = {
        size: {
            "plan": measured.plan,
            "tokens_per_s": {name: [s.tokens_per_s for s in speeds] for name, speeds in measured.speeds.items()},
            "gemm_gflops": measured.gflops,
            "mfu": {name: measured.share(name) for name in measured.speeds},
            "ratio": {name: measured.ratio(name) for name in measured.speeds if name != OURS},
            "last_loss": {name: speeds[-1].loss for name, speeds in measured.speeds.items()},
        }
        for size, measured in found.items()
    }
    command = command_line("throughput")
    write_results(arguments.out, "throughput", command, {"sizes": results}, text_of(found))
    groups = {
        measured.plan["size"]: {
            name: Bar.of(measured.rate(name), f"MFU {100 * measured.share(name):.0f} %") for name in measured.speeds
        }
        for measured in found.values()
    }
    subtitle = rounds_note("tokens per second", arguments.rounds, machine()["processor"])
    bars(arguments.out / "throughput.png", "Training speed", subtitle, groups, "tokens per second")


if __name__ == "__main__":
    main()
