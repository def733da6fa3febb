"""Tokens per second of `cllm train` against a plain fp32 PyTorch loop with a model of the same shape.

The loop is benchmarks/reference.py. Both run as real processes on the same tokens, in turn, so that a machine that gets
slower or faster meets both. The time for preparing the data and for compiling is not counted; it is in the run's own
figures.

    python -m benchmarks.throughput [PATH...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Speed, speed, spread, table, trainer, write_results
from cllm.model.config import config_for

OURS, PLAIN, COMPILED = "cllm train", "plain PyTorch, fp32", "plain PyTorch, fp32, torch.compile"


def measure(arguments: argparse.Namespace, directory: Path) -> dict[str, list[Speed]]:
    """The speeds of every round, by who made them."""
    corpus = [str(path.resolve()) for path in arguments.paths] or ["--stdlib"]
    options = [
        f"--size={arguments.size}", f"--context={arguments.context}", f"--batch-size={arguments.batch_size}",
        f"--vocabulary={arguments.vocabulary}", f"--compile={arguments.compile}",
        f"--precision={arguments.precision}",
    ]  # fmt: skip
    found: dict[str, list[Speed]] = {OURS: [], PLAIN: []}
    if arguments.compiled_reference:
        found[COMPILED] = []
    for number in range(arguments.rounds):
        ours = speed(trainer(corpus, *options), directory, arguments.seconds)
        found[OURS].append(ours)
        tokens = sorted(directory.glob("runs/*/data/train_tokens.npy"))[-1]
        plan = ours.events["plan"]
        shape = config_for(plan["size"], plan["vocabulary"], plan["context"])
        reference = [
            sys.executable, "-m", "benchmarks.reference", str(tokens), f"--vocabulary={shape.vocabulary}",
            f"--layers={shape.layers}", f"--width={shape.width}", f"--heads={shape.heads}",
            f"--context={plan['context']}", f"--batch-size={plan['batch_size']}", "--seconds=100000",
        ]  # fmt: skip
        found[PLAIN].append(speed(reference, directory, arguments.seconds))
        if arguments.compiled_reference:
            found[COMPILED].append(speed([*reference, "--compile"], directory, arguments.seconds))
        rates = ", ".join(f"{name} {speeds[-1].tokens_per_s:,.0f}" for name, speeds in found.items())
        print(f"round {number + 1} of {arguments.rounds}: {rates} tokens/s", file=sys.stderr)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.throughput", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: Python's standard library")
    parser.add_argument("--size", default="small", help="model size, as in cllm train; default: small")
    parser.add_argument("--context", type=int, default=256, help="default: 256 tokens")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32 windows")
    parser.add_argument("--vocabulary", type=int, default=4096, help="default: 4096")
    parser.add_argument("--precision", default="auto", help="of cllm train; default: auto")
    parser.add_argument("--compile", default="on", help="of cllm train: on, off or auto; default: on")
    parser.add_argument("--compiled-reference", action="store_true", help="measure the plain loop compiled, too")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=15.0, help="measured for each process and round; default: 15")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        found = measure(arguments, Path(directory))
    ratios = [ours.tokens_per_s / plain.tokens_per_s for ours, plain in zip(found[OURS], found[PLAIN], strict=True)]
    plan = found[OURS][-1].events["plan"]
    rows = []
    for name, speeds in found.items():
        rates = spread([s.tokens_per_s for s in speeds])
        rows.append([name, f"{rates['median']:,.0f}", f"{rates['lowest']:,.0f} to {rates['highest']:,.0f}"])
    text = table(["Training loop", "tokens/s, median", "lowest to highest"], rows)
    ratio = spread(ratios)
    text += (
        f"\nRatio to the plain loop: {ratio['median']:.2f} (rounds: {ratio['lowest']:.2f} to {ratio['highest']:.2f}).\n"
        f"Model: {arguments.size}, vocabulary {plan['vocabulary']}, context {plan['context']}, "
        f"batch {plan['batch_size']} windows; cllm train: {plan['ranks']} ranks of {plan['threads_per_rank']} threads, "
        f"{plan['microbatches']} microbatches a step, {plan['precision']}, compile {plan['compile']}.\n"
    )
    results = {
        "plan": plan,
        "ratio": ratio,
        "rounds": {name: [s.tokens_per_s for s in speeds] for name, speeds in found.items()},
        "last_loss": {name: speeds[-1].loss for name, speeds in found.items()},
    }
    write_results(
        arguments.out, "throughput", "python -m benchmarks.throughput " + " ".join(sys.argv[1:]), results, text
    )


if __name__ == "__main__":
    main()
