"""Time from sources to shards for 100 MB, and from the start of `cllm train` to its first step on the standard library.

Every training has an empty cache of kernels. The shards are timed without and with kernels being compiled beside them.
The 100 MB are C sources of glibc, unpacked from Debian's package, and copies of them in which every name has a number,
so that no copy is a duplicate of another.

    python -m benchmarks.preparation
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import corpora
from benchmarks.measure import ROOT_ENVIRONMENT, command_line, machine, process, spread, table, write_results
from benchmarks.plots import Bar, bars, rounds_note

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{2,}")
Times = dict[str, float]  # what -> seconds from the start of the process


def renamed(text: bytes, copy: int) -> bytes:
    """`text` with `copy` after every name of three characters or more; copy 0 is the text itself."""
    return text if copy == 0 else _NAME.sub(rb"\g<0>_%d" % copy, text)


def fill(source: Path, target: Path, size: int) -> int:
    """Files of `source`, sorted, then renamed copies of them, in `target` until it has `size` bytes; returns bytes."""
    files = sorted(p for p in source.rglob("*") if p.is_file() and p.stat().st_size)
    done, copy = 0, 0
    while done < size:
        for path in files:
            text = renamed(path.read_bytes(), copy)
            if done + len(text) > size:
                return done
            out = target / f"copy{copy}" / path.relative_to(source)
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_bytes(text)
            done += len(text)
        copy += 1
    return done


def sources(cache: Path, megabytes: float) -> Path:
    """A directory of that many 10^6 bytes of C, made once in `cache`."""
    target = cache / f"preparation-{megabytes:g}MB"
    if not target.is_dir():
        tree = cache / "glibc-all"
        if not tree.is_dir():
            try:
                archive = corpora.newest_archive(corpora.ARCHIVES)
                corpora.unpack(archive, tree, re.compile(r"[^/]+/(?!iconvdata/|localedata/).*\.[ch]"))
            except corpora.CorpusMissing as error:
                sys.exit(str(error))
        with tempfile.TemporaryDirectory(dir=cache) as name:
            fresh = Path(name) / "fresh"
            fresh.mkdir()
            fill(tree, fresh, round(megabytes * 1e6))
            fresh.rename(target)
    return target


def prepare_seconds(source: Path) -> tuple[float, dict[str, float]]:
    """Wall-clock time of `cllm prepare`, and what it says it made."""
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "cllm", "prepare", str(source.resolve()), "--out=corpus.txt", "--json"]
        begun = time.time()
        done = subprocess.run(command, cwd=name, env=ROOT_ENVIRONMENT, capture_output=True, text=True, check=False)
        seconds = time.time() - begun
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    result = json.loads(done.stdout)
    return seconds, {"files": result["files"], "bytes": result["bytes"]}


def training_times(what: list[str], until: str, options: list[str]) -> Times:
    """Seconds from the start of `cllm train` to the first event of each stage, until `until`: a stage, or "step"."""
    found: Times = {}
    command = [sys.executable, "-m", "cllm", "train", *what, "--json", *options]
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile("w+") as errors:
        begun = time.time()
        with process(command, Path(name), errors, CLLM_CACHE=f"{name}/cache") as running:
            assert running.stdout is not None
            for line in running.stdout:
                event = json.loads(line)
                key = event.get("stage", event["event"])
                if "stage" in event or key in ("plan", "step"):
                    found.setdefault(key, event["time"] - begun)
                if key == until:
                    break
        if until not in found:
            errors.seek(0)
            sys.exit(f"{' '.join(command)}: it ended before {until}: {errors.read()[-2000:]}")
    return found


def main() -> None:
    """Command line."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preparation", description=about)
    parser.add_argument("--megabytes", type=float, default=100, help="of sources to prepare; default: 100")
    parser.add_argument("--minutes", type=float, default=5, help="that the training is given; default: 5")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--cache", type=Path, default=corpora.CACHE, help=f"of sources; default: {corpora.CACHE}")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    source = sources(arguments.cache, arguments.megabytes)
    minutes = [f"--minutes={arguments.minutes:g}"]
    prepares: list[float] = []
    shards: list[Times] = []
    beside: list[Times] = []
    starts: list[Times] = []
    made: dict[str, float] = {}
    for number in range(arguments.rounds):
        seconds, made = prepare_seconds(source)
        prepares.append(seconds)
        shards.append(training_times([str(source.resolve())], "planning", [*minutes, "--compile=off"]))
        beside.append(training_times([str(source.resolve())], "planning", [*minutes, "--compile=on"]))
        starts.append(training_times(["--stdlib"], "step", minutes))
        print(
            f"round {number + 1} of {arguments.rounds}: prepare {seconds:.1f} s, "
            f"shards {shards[-1]['planning']:.1f} s, beside compiling {beside[-1]['planning']:.1f} s, "
            f"first step {starts[-1]['step']:.1f} s", file=sys.stderr,
        )  # fmt: skip
    size = f"{arguments.megabytes:g} MB"
    figures = {
        f"{size}, cllm prepare": prepares,
        f"{size}, scan to shards": [times["planning"] for times in shards],
        f"{size}, scan to shards while kernels are compiled": [times["planning"] for times in beside],
        "standard library, to first step": [times["step"] for times in starts],
    }
    rows = [
        [name, f"{s['median']:.1f} s", f"{s['lowest']:.1f} to {s['highest']:.1f} s"]
        for name, s in ((name, spread(values)) for name, values in figures.items())
    ]
    text = table(["What", "median", "lowest to highest"], rows)
    text += f"\n{size}: {made['files']:,.0f} files and {made['bytes'] / 1e6:.1f} MB went in.\n"
    for about, times in ((size, shards), (f"{size} beside compiling", beside), ("Standard library", starts)):
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in times[-1].items())
        text += f"{about}, last round, seconds from the start to each stage: {stages}.\n"
    command = command_line("preparation")
    results = {"seconds": figures, "shards": shards, "beside": beside, "starts": starts, "prepared": made}
    write_results(arguments.out, "preparation", command, results, text)
    groups = {"": {name: Bar.of(spread(values), "s") for name, values in figures.items()}}
    subtitle = rounds_note("seconds", arguments.rounds, machine()["processor"])
    bars(arguments.out / "preparation.png", "From sources to the first step", subtitle, groups, "seconds")


if __name__ == "__main__":
    main()
