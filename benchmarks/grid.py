"""The planner's choice against a grid of hand-set sizes and vocabularies, at the same time, on the validation files.

Each is one `cllm train --minutes M` with a cache of kernels of its own, then `cllm evaluate --split validation`. On a
machine of many cores several run at once, each on cores of its own. Finished ones are kept in runs.json, the planner's
with its figure of the test files for benchmarks.quality.

    python -m benchmarks.grid --minutes 5 --grid "2x128/2048,3x128/2048,4x128/3072"
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from benchmarks import corpora
from benchmarks.measure import command_line, numbers, table, write_results
from benchmarks.points import Point, Points
from benchmarks.runs import FILE, kept_or_made, key_of
from cllm.errors import InvalidSettings
from cllm.model.config import parse_size

AUTO = "planner"
GRID = "2x128/2048,3x128/2048,3x128/3072,4x128/2048,4x128/3072,3x192/3072,4x192/3072"


def options_of(choice: str) -> list[str]:
    """What a choice such as 3x128/2048 is for `cllm train`; nothing for the planner's. Raises `InvalidSettings`."""
    if choice == AUTO:
        return []
    size, _, vocabulary = choice.partition("/")
    parse_size(size)
    if vocabulary and not vocabulary.isdecimal():
        raise InvalidSettings(f"{choice!r}: SIZE/VOCABULARY is wanted, such as 3x128/2048")
    return [f"--size={size}", *([f"--vocabulary={vocabulary}"] if vocabulary else [])]


def seats(cores: Sequence[int], each: int) -> list[list[int]]:
    """Cores for trainings that run at once, `each` for one; those that are left over stay idle."""
    return [list(cores[i : i + each]) for i in range(0, len(cores) - each + 1, each)]


def report(runs: Mapping[str, Sequence[Point]], out: Path) -> None:
    """A table for each corpus and time of the runs of each choice, the best first."""
    every = [(choice, run) for choice, own in runs.items() for run in own]
    text = ""
    for corpus, minutes in sorted({(run["corpus"], run["minutes"]) for _, run in every}):
        here = [(choice, run) for choice, run in every if (run["corpus"], run["minutes"]) == (corpus, minutes)]
        here.sort(key=lambda pair: pair[1]["validation_bits_per_byte"])
        best = here[0][1]["validation_bits_per_byte"]
        rows = [
            [
                f"**{AUTO}**" if choice == AUTO else choice, f"{run['plan']['size']}, {run['plan']['vocabulary']}",
                f"{(bits := run['validation_bits_per_byte']):.4f}", f"{100 * (bits / best - 1):+.1f} %",
                f"{run['tokens'] / 1e6:.2f} M", f"{run['passes']:.2f}",
                f"{run['plan']['expected_bits_per_byte'] or 0:.3f}",
            ]
            for choice, run in here
        ]  # fmt: skip
        header = ["Choice", "size, vocabulary", "bits per byte", "to the best", "tokens", "passes", "expected"]
        text += f"{corpus}, {minutes:g} minutes on {here[0][1]['cores']} cores, validation files:\n\n"
        text += f"{table(header, rows)}\n"
    write_results(out, "grid", command_line("grid"), {"runs": [run for _, run in every]}, text)


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
    free, runs = seats(cores, arguments.cores), Points(arguments.out / FILE)
    chosen = {c.name: c for c in corpora.corpora(arguments.corpora.split(","), arguments.cache)}
    options = arguments.train_options.split()
    choices = [AUTO, *filter(None, arguments.grid.split(","))]
    try:
        settings = {choice: [*options_of(choice), *options] for choice in choices}
    except InvalidSettings as error:
        parser.error(str(error))
    keys = {
        choice: [
            key_of(corpus, length, own, cores=arguments.cores)
            for corpus in chosen.values()
            for length in arguments.minutes
        ]
        for choice, own in settings.items()
    }
    at = SimpleQueue[list[int]]()
    for seat in free:
        at.put(seat)

    def run(choice: str, key: Point) -> Point:
        seat = at.get()
        try:
            what = chosen[key["corpus"]].arguments
            return kept_or_made(runs, key, what, choice == AUTO, arguments.redo, arguments.out, seat)
        finally:
            at.put(seat)

    arguments.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(len(free)) as pool:
        done = {choice: [pool.submit(run, choice, key) for key in own] for choice, own in keys.items()}
        report({choice: [future.result() for future in own] for choice, own in done.items()}, arguments.out)


if __name__ == "__main__":
    main()
