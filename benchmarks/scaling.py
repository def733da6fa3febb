"""Tokens per second of `cllm train` with 1, 2, 4, ... ranks up to one for each core, and what each rank still gives.

The same model, batch and microbatches for all. Efficiency is the speed by ranks times the speed of one rank.

    python -m benchmarks.scaling [PATH...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Speed, command_line, machine, speed, spread, table, trainer, write_results
from benchmarks.plots import Bar, bars, rounds_note
from cllm.machine import usable_cores


def rank_counts(cores: int) -> list[int]:
    """1, 2, 4, ... below `cores`, and `cores`."""
    counts = [1 << n for n in range(cores.bit_length()) if 1 << n < cores]
    return [*counts, cores]


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=about)
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: Python's standard library")
    parser.add_argument("--ranks", default="", help="such as 1,2,3; default: 1, 2, 4, ... and one for each core")
    parser.add_argument("--sizes", default="3x128,6x256", help="model sizes; default: 3x128,6x256")
    parser.add_argument("--context", type=int, default=256, help="default: 256 tokens")
    parser.add_argument("--batch-size", type=int, default=36, help="windows a step; default: 36")
    parser.add_argument("--microbatches", type=int, default=12, help="that are shared out; default: 12")
    parser.add_argument("--vocabulary", type=int, default=4096, help="default: 4096")
    parser.add_argument("--compile", default="on", help="of cllm train: on, off or auto; default: on")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=10.0, help="measured for each process and round; default: 10")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    corpus = [str(path.resolve()) for path in arguments.paths] or ["--stdlib"]
    wanted = [int(n) for n in arguments.ranks.split(",") if n] or rank_counts(usable_cores())
    ranks = sorted({1, *(n for n in wanted if n <= arguments.microbatches)})
    found: dict[str, dict[int, list[Speed]]] = {}
    for size in arguments.sizes.split(","):
        found[size] = {n: [] for n in ranks}
        for number in range(arguments.rounds):
            for count, speeds in found[size].items():
                training = trainer(
                    corpus, f"--size={size}", f"--context={arguments.context}", f"--threads={count}",
                    f"--batch-size={arguments.batch_size}", f"--microbatches={arguments.microbatches}",
                    f"--vocabulary={arguments.vocabulary}", f"--compile={arguments.compile}",
                )  # fmt: skip
                with tempfile.TemporaryDirectory() as directory:
                    speeds.append(speed(training, Path(directory), arguments.seconds))
                said = f"{count} ranks: {speeds[-1].tokens_per_s:,.0f} tokens/s"
                print(f"{size}, round {number + 1} of {arguments.rounds}: {said}", file=sys.stderr)
    rows: list[list[str]] = []
    groups: dict[str, dict[str, Bar]] = {}
    for size, by_ranks in found.items():
        rates = {n: spread([s.tokens_per_s for s in speeds]) for n, speeds in by_ranks.items()}
        groups[size] = {}
        for n, rate in rates.items():
            times = rate["median"] / rates[1]["median"]
            rows.append([
                size, str(n), f"{rate['median']:,.0f}", f"{rate['lowest']:,.0f} to {rate['highest']:,.0f}",
                f"{times:.2f}", f"{100 * times / n:.0f} %",
            ])  # fmt: skip
            groups[size][f"{n} rank" + "s" * (n > 1)] = Bar.of(rate, f"{100 * times / n:.0f} % a rank")
    plan = next(iter(found.values()))[1][-1].events["plan"]
    text = table(["Model", "ranks", "tokens/s, median", "lowest to highest", "speed-up", "efficiency"], rows)
    text += (
        f"\n{plan['batch_size']} windows of {plan['context']} tokens a step in {plan['microbatches']} microbatches, "
        f"{plan['precision']}, compile {'on' if plan['compile'] else 'off'}, ranks of one thread.\n"
    )
    results = {
        size: {str(n): [s.tokens_per_s for s in speeds] for n, speeds in by_ranks.items()}
        for size, by_ranks in found.items()
    }
    command = command_line("scaling")
    write_results(arguments.out, "scaling", command, {"plan": plan, "tokens_per_s": results}, text)
    subtitle = rounds_note("tokens per second", arguments.rounds, machine()["processor"])
    bars(arguments.out / "scaling.png", "Scaling over ranks", subtitle, groups, "tokens per second")


if __name__ == "__main__":
    main()
