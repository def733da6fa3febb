"""Quality against time: bits per byte of test files after M minutes, `cllm train` beside a plain loop and compressors.

One training for each M, as a person would start it; preparation counts for all. The plain loop is
benchmarks/reference.py on the same training files, its learning rate the best of a grid on the *validation* files, and
where there is a checkout of nanochat its model and optimizer, with the best depth.
Each finished point is kept, in quality_points.json and runs.json, so that the command can be run in pieces.

    python -m benchmarks.quality --corpora glibc --makers cllm --minutes 1,2,5
    python -m benchmarks.quality --makers ""             # only the table and the picture of what there is
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks import corpora, loops
from benchmarks.measure import command_line, numbers
from benchmarks.points import Point, Points, say
from benchmarks.quality_data import Prepared, prepared
from benchmarks.quality_report import MAKERS, report
from benchmarks.runs import FILE, kept_or_made, key_of
from benchmarks.zpaq import INSTALL, conditional_zpaq_bytes
from cllm import ppmd
from cllm.evaluation.compressors import conditional_xz_bytes


def cllm_run(runs: Points, data: Prepared, minutes: float, seed: int, arguments: argparse.Namespace) -> None:
    """One `cllm train --minutes`, if it is not there yet, with its figure of the test files.

    The split of the files depends on the seed, so other seeds than 0 begin with the text that was prepared with seed 0.
    """
    key = key_of(data.corpus, minutes, arguments.cllm_options.split(), seed)
    what = data.corpus.arguments if seed == 0 else [str(data.text.resolve())]
    run = kept_or_made(runs, key, what, True, arguments.redo, data.directory)
    if run["splits_sha256"] != data.splits_sha256:
        sys.exit(f"{data.corpus.name}: the run split the files in another way than the comparison")


def as_point(run: Point) -> Point:
    """A run of `cllm train` as a point of the report."""
    return {**run, "kind": "point", "maker": "cllm", "bits_per_byte": run["test_bits_per_byte"]}


def compressor_points(points: Points, data: Prepared, key: Point) -> None:
    """xz, PPMd and zpaq, each given the training files."""
    programs = {"xz": conditional_xz_bytes, "ppmd": ppmd.conditional_bytes, "zpaq": conditional_zpaq_bytes}
    for maker, program in programs.items():
        if points.find(**key, maker=maker) is not None:
            continue
        training, held_out = data.joined("train"), data.joined("test")
        begun = time.time()
        size = program(training, held_out)
        if size is None:
            say(INSTALL)
            continue
        points.add({
            **key, "maker": maker, "bits_per_byte": 8 * size / len(held_out), "test_bytes": len(held_out),
            "wall_s": time.time() - begun,
        })  # fmt: skip


def measure(points: Points, runs: Points, data: Prepared, arguments: argparse.Namespace) -> None:
    """Every point of one corpus that was asked for and is not there yet."""
    makers = [m for m in arguments.makers.split(",") if m]
    seeds = [int(s) for s in arguments.seeds.split(",")]
    key: Point = {"kind": "point", "corpus": data.corpus.name, "sha256": data.corpus.sha256}
    if "compressors" in makers:
        compressor_points(points, data, key)
    for seed in seeds:
        for length in arguments.minutes:
            if "cllm" in makers:
                cllm_run(runs, data, length, seed, arguments)
            for maker in (m for m in makers if m in loops.NAMES):
                loop = loops.loop_of(maker, arguments)
                wanted = {**key, "maker": maker, "minutes": length, "seed": seed, "loop": loop.about}
                before = points.find(**wanted)
                if before is not None and not arguments.redo:
                    continue
                best = loop.best(points, data, arguments.grid_minutes)
                made = loop.run(data, length, seed, best, "test")
                if before is not None:
                    points.all.remove(before)
                points.add({**key, "maker": maker, **made})


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=about)
    parser.add_argument("--corpora", default="glibc,stdlib", help="default: glibc,stdlib")
    parser.add_argument(
        "--makers", default="compressors,cllm,plain,compiled",
        help="compressors, cllm, plain (fp32, eager), compiled (torch.compile, and bf16 where it pays), nanochat; "
        "default: all but the last",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=numbers, default="1,2,5,10,20", help="a training for each; default: %(default)s"
    )
    parser.add_argument("--seeds", default="0", help="one training for each, too; default: 0")
    parser.add_argument("--cllm-options", default="", help="more options for cllm train, such as '--size 4x192'")
    parser.add_argument("--size", default="6x256", help="of the plain loop's model; default: 6x256")
    parser.add_argument("--context", type=int, default=256, help="of the plain loop; default: 256 tokens")
    parser.add_argument("--batch-size", type=int, default=32, help="of the plain loop; default: 32 windows")
    parser.add_argument("--vocabulary", type=int, default=4096, help="of the plain loop; default: 4096 tokens")
    parser.add_argument("--grid", default="0.0005,0.001,0.002,0.004", help="rates; default: 0.0005,0.001,0.002,0.004")
    parser.add_argument("--grid-minutes", type=float, default=5, help="time of each trial of the grid; default: 5")
    parser.add_argument("--learning-rate", type=float, help="of the plain loop, instead of the grid's best")
    parser.add_argument("--nanochat", type=Path, help="directory of nanochat's sources, for --makers nanochat")
    parser.add_argument("--depths", default="2,3,4", help="of nanochat, of which the best is taken; default: 2,3,4")
    parser.add_argument("--nanochat-context", type=int, default=512, help="of nanochat; default: 512 tokens")
    parser.add_argument("--nanochat-batch-size", type=int, default=16, help="of nanochat; default: 16 windows")
    parser.add_argument("--redo", action="store_true", help="measure anew what is there already")
    parser.add_argument("--cache", type=Path, default=corpora.CACHE, help=f"of corpora; default: {corpora.CACHE}")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    points, runs = Points(arguments.out / "quality_points.json"), Points(arguments.out / FILE)
    unknown = set(filter(None, arguments.makers.split(","))) - {*MAKERS, "compressors"}
    if unknown:
        sys.exit(f"--makers {','.join(unknown)}: choose from compressors, {', '.join(MAKERS)}")
    if arguments.makers:
        for corpus in corpora.corpora(arguments.corpora.split(","), arguments.cache):
            work = arguments.out / "quality" / f"{corpus.name}-{corpus.sha256[:12]}"
            data = prepared(corpus, work, arguments.vocabulary)
            measure(points, runs, data, arguments)
    tested = [as_point(run) for run in runs.all if "test_bits_per_byte" in run]
    report([*points.all, *tested], arguments.out, command_line("quality"))


if __name__ == "__main__":
    main()
