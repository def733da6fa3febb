"""The planner's choice against a grid of hand-set sizes and vocabularies, at the same time, on the validation files.

Each is one `cllm train --minutes M` with a cache of kernels of its own, then `cllm evaluate --split validation`. On a
machine of many cores several run at once, each on cores of its own. Finished ones are kept in grid_points.json.

    python -m benchmarks.grid --minutes 5 --grid "2x128/2048,3x128/2048,4x128/3072"
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks import corpora
from benchmarks.corpora import Corpus
from benchmarks.measure import command_line, numbers, output_of, table, write_results
from benchmarks.points import Point, Points

AUTO = "planner"
GRID = "2x128/2048,3x128/2048,3x128/3072,4x128/2048,4x128/3072,3x192/3072,4x192/3072"


def options_of(choice: str) -> list[str]:
    """What a choice such as 3x128/2048 is for `cllm train`; nothing for the planner's."""
    if choice == AUTO:
        return []
    size, _, vocabulary = choice.partition("/")
    return [f"--size={size}", *([f"--vocabulary={vocabulary}"] if vocabulary else [])]


def seats(cores: Sequence[int], each: int) -> list[list[int]]:
    """Cores for trainings that run at once, `each` for one; those that are left over stay idle."""
    return [list(cores[i : i + each]) for i in range(0, len(cores) - each + 1, each)]


def point_of(corpus: Corpus, choice: str, minutes: float, options: list[str], seat: Sequence[int], work: Path) -> Point:
    """One training on the cores of `seat`, and what it comes to on the validation files."""
    with tempfile.TemporaryDirectory(dir=work, prefix="grid-") as name:
        cwd = Path(name)
        cllm = ["taskset", "-c", ",".join(map(str, seat)), sys.executable, "-m", "cllm"]
        train = [*cllm, "train", *corpus.arguments, f"--minutes={minutes:g}", "--json", *options_of(choice), *options]
        lines, wall_s = output_of(train, cwd, CLLM_CACHE=str(cwd / "cache"))
        plan = next(line for line in lines if line["event"] == "plan")
        evaluate = ["evaluate", "latest", "--split=validation", "--json", "--no-baselines", "--completions=0"]
        figures, _ = output_of([*cllm, *evaluate], cwd)
    kept = ("size", "vocabulary", "context", "batch_size", "dropout", "renaming", "expected_bits_per_byte")
    return {
        "bits_per_byte": figures[-1]["bits_per_byte"], "tokens": lines[-1]["tokens"], "passes": lines[-1]["epochs"],
        "wall_s": wall_s, "cores": len(seat), "plan": {k: plan.get(k) for k in kept},
    }  # fmt: skip


def missing(points: Points, keys: Sequence[Point], redo: bool) -> list[Point]:
    """What is to be measured."""
    if redo:
        points.all = [p for p in points.all if not any(p.items() >= key.items() for key in keys)]
    return [key for key in keys if points.find(**key) is None]


def report(points: Sequence[Point], minutes: Sequence[float], out: Path) -> None:
    """A table for each corpus and time, the best first."""
    text = ""
    for corpus in sorted({p["corpus"] for p in points}):
        for length in minutes:
            here = [p for p in points if p["corpus"] == corpus and p["minutes"] == length]
            if not here:
                continue
            best = min(p["bits_per_byte"] for p in here)
            rows = [
                [
                    f"**{AUTO}**" if p["choice"] == AUTO else p["choice"],
                    f"{p['plan']['size']}, {p['plan']['vocabulary']}", f"{p['bits_per_byte']:.4f}",
                    f"{100 * (p['bits_per_byte'] / best - 1):+.1f} %", f"{p['tokens'] / 1e6:.2f} M",
                    f"{p['passes']:.2f}", f"{p['plan']['expected_bits_per_byte'] or 0:.3f}",
                ]
                for p in sorted(here, key=lambda p: p["bits_per_byte"])
            ]  # fmt: skip
            header = ["Choice", "size, vocabulary", "bits per byte", "to the best", "tokens", "passes", "expected"]
            cores = ", ".join(sorted({str(p["cores"]) for p in here}))
            text += f"{corpus}, {length:g} minutes on {cores} cores, validation files:\n\n{table(header, rows)}\n"
    write_results(out, "grid", command_line("grid"), {"points": list(points)}, text)


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grid", description=about)
    parser.add_argument("--corpora", default="glibc,stdlib", help="default: glibc,stdlib")
    parser.add_argument("--minutes", type=numbers, default="5", help="such as 5,20; default: 5")
    parser.add_argument("--grid", default=GRID, help=f"SIZE/VOCABULARY, beside the planner; default: {GRID}")
    parser.add_argument("--cores", type=int, default=2, help="for each training; default: 2")
    parser.add_argument("--train-options", default="", help="more options for all, such as '--compile on'")
    parser.add_argument("--redo", action="store_true", help="measure anew what is there already")
    parser.add_argument("--cache", type=Path, default=corpora.CACHE, help=f"of corpora; default: {corpora.CACHE}")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    if not hasattr(os, "sched_getaffinity") or not shutil.which("taskset"):
        sys.exit("taskset is needed, which gives each training its cores: util-linux has it")
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= arguments.cores <= len(cores):
        parser.error(f"--cores {arguments.cores}: there are {len(cores)} here")
    free, points = seats(cores, arguments.cores), Points(arguments.out / "grid_points.json")
    found = {c.name: c for c in corpora.corpora(arguments.corpora.split(","), arguments.cache)}
    choices, options = [AUTO, *filter(None, arguments.grid.split(","))], arguments.train_options.split()
    keys = [
        {"corpus": name, "sha256": corpus.sha256, "minutes": length, "choice": choice, "options": options}
        for name, corpus in found.items()
        for length in arguments.minutes
        for choice in choices
    ]
    at = SimpleQueue[list[int]]()
    for seat in free:
        at.put(seat)

    def measure(key: Point) -> None:
        seat = at.get()
        try:
            corpus, choice = found[key["corpus"]], key["choice"]
            points.add(key | point_of(corpus, choice, key["minutes"], options, seat, arguments.out))
        finally:
            at.put(seat)

    arguments.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(free)) as pool:
        list(pool.map(measure, missing(points, keys, arguments.redo)))
    wanted = [p for p in points.all if p["corpus"] in found and p["options"] == options]
    report(wanted, arguments.minutes, arguments.out)


if __name__ == "__main__":
    main()
