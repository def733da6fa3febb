"""Which part of the recipe earns what: bits per byte of the validation files with one thing changed at a time.

Every trial is one process (`benchmarks.trial`), of one thread or on a GPU, that may spend the same number of floating
point operations (6 for each weight and token, and attention's): equal time where matrix products decide it, and the
same result whatever else the machine does. The data order, schedule, optimizer and model are those of `cllm train`. The
test split is never read. Finished trials are kept in `recipe_trials.json`, and are not made again unless with --redo.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from benchmarks.corpora import CORPORA
from benchmarks.corpora import corpus as corpus_called
from benchmarks.measure import ROOT_ENVIRONMENT, command_line, table, write_results


@dataclass(frozen=True)
class Recipe:
    """What a trial is made of; the defaults are what `cllm train` does for some minutes."""

    size: str = "3x128"
    vocabulary: int = 4096
    context: int = 256
    batch: int = 16  # windows in a step
    learning_rate: float = 1e-3
    tied: bool = False
    bigrams: bool = True
    induction: bool = True
    weight_decay: float = 0.1
    vocabulary_decay: float = 0.3  # of embedding and output layer
    prior_pairs: float | None = None
    embedding_rms: float | None = None
    decay_begins: float | None = None
    ffn: float = 3.0  # widths
    share: float = 1.0  # of the training documents
    dropout: float = 0.0  # of what each layer adds to the residual stream
    renaming: float = 0.0  # share of the names that are exchanged in half of the microbatches
    rope_theta: float | None = None  # by the context
    near: int | None = None  # tokens that near layers look back, 0: all; None: as `config_for` has it
    fast: bool = False  # bf16 and compiled: figures then differ a little from machine to machine
    device: str = "cpu"  # or "cuda"


WHOLE, ANY = r"[1-9]\d*", r"\d+(\.\d+)?"
NUMBERS = {  # what can be set by name, such as "batch 12" or "weight decay 0.3": how its number is written
    field.name.replace("_", " "): WHOLE if str(field.type).startswith("int") else ANY
    for field in fields(Recipe)
    if str(field.type).startswith(("int", "float"))
}
WORDS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no induction heads": {"induction": False},
    "no bigrams": {"induction": False, "bigrams": False},
    "tied without bigrams": {"induction": False, "bigrams": False, "tied": True},
    "all far": {"near": 0},
}
USUAL = [*WORDS, "batch 8", "4x192", "vocabulary 2048", "context 1024 and batch 4", "dropout 0.1", "renaming 0.2"]


def changes(name: str) -> dict[str, Any]:
    """What a variant changes: one of `WORDS`, a size such as 4x192, a number such as "dropout 0.15", or several.

    Several are joined by " + " or " and ". Raises `KeyError` with the part that is none of these.
    """
    found: dict[str, Any] = {}
    for part in re.split(r" \+ | and ", name):
        what, _, number = part.rpartition(" ")
        if re.fullmatch(r"\d+x\d+", part):
            found["size"] = part
        elif what in NUMBERS and re.fullmatch(NUMBERS[what], number):
            found[what.replace(" ", "_")] = json.loads(number)
        else:
            found |= WORDS[part]
    return found


def shards_of(corpus: str, vocabulary: int, out: Path) -> Path:
    """The run directory with the shards of a corpus, made once."""
    from cllm.runstore import RunStore
    from cllm.settings import TrainSettings
    from cllm.training.shards import write_shards
    from cllm.workspace import RunDirectory

    run = RunDirectory(out / "recipe" / f"{corpus}-{vocabulary}")
    if not (run.data / "facts.json").is_file():
        run.data.mkdir(parents=True, exist_ok=True)
        arguments = corpus_called(corpus).arguments
        paths = [Path(a) for a in arguments if not a.startswith("--")]
        with RunStore(run.store) as store:
            write_shards(run, paths, TrainSettings(vocabulary=vocabulary), "--stdlib" in arguments, store)
    return run.path


def main() -> None:
    """Make the trials that are missing, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=__doc__)
    parser.add_argument("--corpora", default=",".join(CORPORA), help="default: all")
    parser.add_argument(
        "--variants",
        default=",".join(USUAL),
        help="sizes, words or numbers by name, joined by commas, or by ' + ' into one (default: %(default)s)",
    )
    parser.add_argument("--work", type=float, default=6, help="10^12 operations a trial (default %(default)s)")
    parser.add_argument("--seeds", default="0", help="default 0")
    parser.add_argument("--size", default=Recipe.size, help="the size of what does not name one (default %(default)s)")
    parser.add_argument("--share", type=float, default=1.0, help="of the training documents (default all)")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default 2)")
    parser.add_argument("--fast", action="store_true", help="bf16 and compiled: for a processor that gains by it")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default %(default)s")
    parser.add_argument("--redo", action="store_true", help="make trials again that are already there")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default %(default)s")
    options = parser.parse_args()
    kept = options.out / "recipe_trials.json"
    trials: dict[str, dict[str, float]] = json.loads(kept.read_text()) if kept.is_file() else {}
    base = replace(Recipe(), size=options.size, share=options.share, fast=options.fast, device=options.device)
    names = options.variants.split(",")
    if unknown := [name for name in options.corpora.split(",") if name not in CORPORA]:
        parser.error(f"there is no corpus {unknown[0]!r}: choose of {', '.join(CORPORA)}")
    try:
        recipes = {name: replace(base, **changes(name)) for name in names}
    except KeyError as error:
        known = ", ".join(["LAYERSxWIDTH", *WORDS, *(f"{name} NUMBER" for name in NUMBERS)])
        parser.error(f"there is no variant {error}: choose of {known}")
    wanted = [
        (corpus, name, int(seed))
        for seed in options.seeds.split(",")
        for name in names
        for corpus in options.corpora.split(",")
    ]

    def key(corpus: str, name: str, seed: int) -> str:
        share = "" if options.share == 1 else f" | {options.share:g} of the documents"
        fast = " | fast" if options.fast else ""
        return f"{corpus} | {options.size} | {options.work:g}e12{share} | {name} | {seed}{fast}"

    def make(corpus: str, name: str, seed: int) -> None:
        recipe = recipes[name]
        work = str(shards_of(corpus, recipe.vocabulary, options.out).resolve())
        job = {"work": work, "recipe": asdict(recipe), "work_1e12": options.work, "seed": seed}
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.trial", json.dumps(job)],
            env=ROOT_ENVIRONMENT | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{name}: {done.stderr[-2000:]}")
        trials[key(corpus, name, seed)] = json.loads(done.stdout)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(trials, indent=1) + "\n")
        print(f"{key(corpus, name, seed)}: {trials[key(corpus, name, seed)]['bits_per_byte']:.4f}", flush=True)

    for corpus in options.corpora.split(","):
        for name in names:
            shards_of(corpus, recipes[name].vocabulary, options.out)
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda job: make(*job), [w for w in wanted if options.redo or key(*w) not in trials]))

    rows = []
    for name in names:
        row = [name]
        for corpus in options.corpora.split(","):
            seeds = options.seeds.split(",")
            found = [trials[key(corpus, name, int(seed))] for seed in seeds]
            bits = statistics.median(f["bits_per_byte"] for f in found)
            first = statistics.median(trials[key(corpus, names[0], int(seed))]["bits_per_byte"] for seed in seeds)
            row += [f"{bits:.3f}", f"{100 * (bits / first - 1):+.1f} %", f"{found[0]['tokens'] / 1e6:.2f} M"]
        rows.append(row)
    header = ["Variant"]
    for corpus in options.corpora.split(","):
        header += [f"{corpus}: bits per byte", "against the first", "tokens"]
    about = f"{options.size} where not said, {options.work:g}e12 operations, seeds {options.seeds}, validation files.\n"
    write_results(options.out, "recipe", command_line("recipe"), {"trials": trials}, table(header, rows) + "\n" + about)


if __name__ == "__main__":
    main()
