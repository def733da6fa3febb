"""What the exact reduction tree costs against plain all_reduce, and many microbatches a step against few.

The same global batch, model and ranks for all; K is the number of microbatches (each of one sphere) in a step. The
variants run in turn, each as a real `cllm train`, in every round. The ratios are to the variant of the fewest
microbatches that keeps all ranks busy, with the exact tree.

    python -m benchmarks.reducer [PATH...]
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks.measure import Speed, speed, spread, table, trainer, write_results

# Speed does not depend on what is read, and little is prepared sooner.
DEFAULT_CORPUS = [Path(sysconfig.get_path("stdlib")) / name for name in ("asyncio", "email", "unittest", "xml")]

Variant = tuple[str, int]  # reducer, microbatches


def variants(microbatches: list[int]) -> list[Variant]:
    """Both reducers where there is something to reduce between ranks, only the exact one for a single microbatch."""
    return [(reducer, k) for k in microbatches for reducer in ("exact", "fast") if k > 1 or reducer == "exact"]


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reducer", description=about)
    parser.add_argument("paths", nargs="*", type=Path, help="code to train on; default: some packages of Python's own")
    parser.add_argument("--size", default="small", help="model size, as in cllm train; default: small")
    parser.add_argument("--context", type=int, default=256, help="default: 256 tokens")
    parser.add_argument("--batch-size", type=int, default=36, help="windows a step for every K; default: 36")
    parser.add_argument("--microbatches", default="1,2,4,12", help="the K to compare; default: 1,2,4,12")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="ranks; default: one for each core")
    parser.add_argument("--precision", default="auto", help="of cllm train; default: auto")
    parser.add_argument("--compile", default="on", help="of cllm train: on, off or auto; default: on")
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    parser.add_argument("--seconds", type=float, default=5.0, help="measured for each process and round; default: 5")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    corpus = [str(path.resolve()) for path in arguments.paths or DEFAULT_CORPUS]
    found: dict[Variant, list[Speed]] = {v: [] for v in variants([int(k) for k in arguments.microbatches.split(",")])}
    with tempfile.TemporaryDirectory() as directory:
        for number in range(arguments.rounds):
            for (reducer, k), speeds in found.items():
                training = trainer(
                    corpus, f"--size={arguments.size}", f"--context={arguments.context}",
                    f"--threads={arguments.threads}", f"--batch-size={arguments.batch_size}",
                    f"--microbatches={k}", f"--reducer={reducer}", f"--precision={arguments.precision}",
                    f"--compile={arguments.compile}",
                )  # fmt: skip
                speeds.append(speed(training, Path(directory), arguments.seconds))
                rate = f"{speeds[-1].tokens_per_s:,.0f} tokens/s"
                print(f"round {number + 1} of {arguments.rounds}: {reducer}, K = {k}: {rate}", file=sys.stderr)
    busy = [v for v in found if v[0] == "exact" and v[1] >= arguments.threads] or list(found)
    base = spread([s.tokens_per_s for s in found[busy[0]]])["median"]
    rows = []
    for (reducer, k), speeds in found.items():
        rates = spread([s.tokens_per_s for s in speeds])
        plan = speeds[-1].events["plan"]
        rows.append([
            str(k), reducer, f"{plan['ranks']} x {plan['threads_per_rank']}", f"{rates['median']:,.0f}",
            f"{rates['lowest']:,.0f} to {rates['highest']:,.0f}", f"{rates['median'] / base:.3f}",
        ])  # fmt: skip
    text = table(["K", "reducer", "ranks x threads", "tokens/s, median", "lowest to highest", "ratio"], rows)
    results = {
        "batch_size": arguments.batch_size,
        "variants": [
            {"reducer": reducer, "microbatches": k, "tokens_per_s": [s.tokens_per_s for s in speeds]}
            for (reducer, k), speeds in found.items()
        ],
    }
    command = " ".join(["python -m benchmarks.reducer", *sys.argv[1:]])
    write_results(arguments.out, "reducer", command, results, text)


if __name__ == "__main__":
    main()
