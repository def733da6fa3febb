"""The planner's law (`cllm.training.expected`), fitted to trials of `benchmarks.recipe` and to whole runs.

    python -m benchmarks.fits                                               # fits what is kept in benchmarks/law
    python -m benchmarks.recipe --work 6 --variants "2x128,3x128,4x192"     # more trials, for the next fit
    python -m benchmarks.grid --minutes 5,20                                # and more whole runs

What the law is for is the choice between models that could be had in the same time. So what counts most are differences
between trainings of one corpus in equal time, or by equal operations; next, that a corpus, or a share of its documents,
is off by as much after one minute as after twenty; and a little, that the mean over these is right. Trials count that
the planner could have asked for, of each the one with the best regularisation, and, less, those of plain sizes with
windows of 256.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import command_line, table, write_results
from benchmarks.points import Point, Points
from benchmarks.recipe import changes
from benchmarks.runs import FILE
from cllm.model.config import config_for
from cllm.training.expected import CONTEXT, FITTED, TYPICAL, Law, bytes_per_token
from cllm.training.plan import most_passes

KEPT = Path(__file__).parent / "law"  # trials and runs that stay with the code
TRIALS = "recipe_trials.json"
KEY = re.compile(r"(\w+) \| (\w+) \| ([\d.]+)e12(?: \| ([\d.]+) of the documents)? \| (.+?) \| (\d+)(?: \| fast)?")
PLAIN = {"size", "vocabulary"}
PLANNED = PLAIN | {"context", "batch", "dropout", "weight_decay", "renaming"}  # what the planner sets
LEAST_CONTEXT = 1024  # of what the planner sets in a limited time
LEAST_SHARE = 0.05  # of a corpus' documents; below, too few files are left to speak for it
RUN, TRIAL, OLD = 6.0, 1.0, 0.3  # what a whole run, a trial with the planner's windows and one with others count
ACROSS, MEAN = 0.1, 0.1  # what it counts that a corpus is always off by as much, and that the corpora's mean is right
STARTS, TRIES = 4, 12000  # of the search; and how many changes it tries in each
FIXED = {"like", "rare", "long"}  # of corpus and vocabulary, of which few of these tell: docs/planner.md


@dataclass(frozen=True)
class Trial:
    """One training: what went in and what came out."""

    corpus: str
    share: float  # of the corpus' documents
    effort: str  # "6e12", operations, or "20 min"
    size: str
    vocabulary: int
    context: int
    tokens: float
    passes: float
    bits_per_byte: float
    ppmd: float  # bits per byte of the same files
    counts: float

    @property
    def there(self) -> float:
        """Bytes of the corpus."""
        return self.tokens * bytes_per_token(self.vocabulary) / self.passes

    @property
    def group(self) -> Hashable:
        """What it has in common with those that could have been had instead."""
        return self.corpus, self.share, self.effort, self.context >= LEAST_CONTEXT

    @property
    def family(self) -> Hashable:
        """What it has in common with those that the law may be off by as much, since it does not know the code."""
        return self.corpus, self.share, self.context >= LEAST_CONTEXT

    def expected(self, law: Law) -> float:
        """Bits per byte by a law."""
        return law.bits(config_for(self.size, self.vocabulary, self.context), self.tokens, self.there, self.ppmd)


def trials_in(path: Path) -> list[Trial]:
    """The trials of a file of `benchmarks.recipe` that count."""
    found: dict[Hashable, Trial] = {}
    for key, result in json.loads(path.read_text()).items():
        matched = KEY.fullmatch(key)
        if matched is None or "epochs" not in result:
            continue
        corpus, base, operations, share, name, _seed = matched.groups()
        try:
            changed = changes(base if name == "as it is" else name)
        except KeyError:  # of code that was not kept
            continue
        trial = trial_of(corpus, float(share or 1), f"{operations}e12", changed, result)
        if trial is not None:
            alike = (trial.group, trial.size, trial.vocabulary, trial.context)
            found[alike] = min(found.get(alike, trial), trial, key=lambda t: t.bits_per_byte)
    return list(found.values())


def trial_of(corpus: str, share: float, effort: str, changed: dict[str, Any], result: Point) -> Trial | None:
    """A trial, if it is one of plain sizes or one that the planner could have asked for."""
    context, vocabulary = changed.get("context", CONTEXT), changed.get("vocabulary", 4096)
    is_planned = context >= LEAST_CONTEXT and changed.keys() <= PLANNED
    if "size" not in changed or share < LEAST_SHARE or not (is_planned or changed.keys() <= PLAIN):
        return None
    tokens, passes = result["tokens"], result["epochs"]
    if passes > most_passes(config_for(changed["size"], vocabulary, context).parameters, tokens / passes):
        return None
    counts = TRIAL if is_planned else OLD
    return Trial(
        corpus, share, effort, changed["size"], vocabulary, context, tokens, passes, result["bits_per_byte"],
        result.get("ppmd_bits_per_byte", TYPICAL), counts,
    )  # fmt: skip


def runs_in(path: Path) -> Iterator[Trial]:
    """The whole runs in a file of `benchmarks.grid` and `benchmarks.quality`."""
    for run in Points(path).all:
        plan = run["plan"]
        yield Trial(
            run["corpus"], 1.0, f"{run['minutes']:g} min", plan["size"], plan["vocabulary"], plan["context"],
            run["tokens"], run["passes"], run["validation_bits_per_byte"], run.get("ppmd_bits_per_byte", TYPICAL), RUN,
        )  # fmt: skip


@dataclass(frozen=True)
class Errors:
    """How far a law is off, as shares of the figures: roots of mean squares, but for `mean`, which has a sign."""

    within: float  # differences between trainings of one group
    across: float  # between groups of one family
    mean: float  # of the families

    @property
    def loss(self) -> float:
        return self.within**2 + ACROSS * self.across**2 + MEAN * self.mean**2


def errors_of(law: Law, trials: Sequence[Trial]) -> Errors:
    """The errors of a law. Each group's mean is left out of `within`, each family's of `across`."""
    off = [math.log(trial.bits_per_byte / trial.expected(law)) for trial in trials]
    groups: dict[Hashable, list[float]] = {}
    families: dict[Hashable, dict[Hashable, float]] = {}
    for trial, error in zip(trials, off, strict=True):
        groups.setdefault(trial.group, []).append(error)
    means = {group: statistics.fmean(own) for group, own in groups.items()}
    for trial in trials:
        families.setdefault(trial.family, {})[trial.group] = means[trial.group]
    levels = {family: statistics.fmean(own.values()) for family, own in families.items()}
    compared = [(t.counts, e - means[t.group]) for t, e in zip(trials, off, strict=True) if len(groups[t.group]) > 1]
    within = sum(c * e**2 for c, e in compared) / sum(c for c, _ in compared)
    spread = [mean - levels[family] for family, own in families.items() for mean in own.values()]
    return Errors(
        math.sqrt(within), math.sqrt(statistics.fmean(e**2 for e in spread)), statistics.fmean(levels.values())
    )


def fit(trials: Sequence[Trial], start: Law, seed: int = 0) -> Law:
    """The best law of several random searches, each with smaller and smaller changes of some of the constants."""
    draw = random.Random(seed)
    names = [name for name in asdict(start) if name not in FIXED]

    def search() -> tuple[float, Law]:
        best, least = start, errors_of(start, trials).loss
        for i in range(TRIES):
            size = 0.4 * 0.65 ** (8 * i / TRIES)
            some = draw.sample(names, draw.choice((1, 2, 3, len(names))))
            law = replace(best, **{name: getattr(best, name) * math.exp(draw.gauss(0, size)) for name in some})
            if (loss := errors_of(law, trials).loss) < least:
                best, least = law, loss
        return least, best

    return min((search() for _ in range(STARTS)), key=lambda found: found[0])[1]


def main() -> None:
    """Fit, and write the constants and the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=Path("artefacts/benchmarks"), help="what is there counts, too; default %(default)s"
    )
    options = parser.parse_args()
    places = [KEPT, options.out]
    trials = [trial for place in places if (place / TRIALS).is_file() for trial in trials_in(place / TRIALS)]
    trials += [run for place in places for run in runs_in(place / FILE)]
    law = fit(trials, FITTED)
    rows = [
        [
            t.corpus, f"{t.share:g}", t.effort, t.size, str(t.vocabulary), str(t.context), f"{t.tokens / 1e6:.2f}",
            f"{t.passes:.2f}", f"{t.bits_per_byte:.3f}", f"{(bits := t.expected(law)):.3f}",
            f"{100 * (bits / t.bits_per_byte - 1):+.1f} %",
        ]
        for t in sorted(trials, key=lambda t: (str(t.family), t.share, t.effort, t.size))
    ]  # fmt: skip
    header = [
        "Corpus", "share", "effort", "size", "vocabulary", "window", "million tokens", "passes", "bits per byte",
        "fitted", "off",
    ]  # fmt: skip
    text = table(header, rows)
    for name, of in (("as it is", FITTED), ("fitted", law)):
        errors = errors_of(of, trials)
        text += f"\nThe law {name}: off by {100 * errors.within:.2f} % between trainings of equal time, "
        text += f"{100 * errors.across:.1f} % across times and shares, {100 * errors.mean:+.1f} % in the mean.\n"
    text += "\n" + "\n".join(f"{name} = {value:.4g}" for name, value in asdict(law).items()) + "\n"
    write_results(options.out, "fits", command_line("fits"), {"constants": asdict(law)}, text)


if __name__ == "__main__":
    main()
