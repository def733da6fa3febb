"""The planner's constants (`cllm.training.expected`), fitted to the trials of `python -m benchmarks.recipe`.

    python -m benchmarks.recipe --work 6 --variants "2x128,3x128,4x192"     # and others: trials are kept
    python -m benchmarks.fits                                               # fits them, and shows how well

Trials of plain sizes count, with any number of operations and share of the documents. What is least and how fast more
tokens help is fitted for each corpus, and the planner takes the mean; all else is the same for all. What little text
costs is fitted afterwards, to what that law is wrong by in trials with the planner's windows and the best
regularisation that was tried.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import command_line, table, write_results
from benchmarks.points import Point
from benchmarks.recipe import changes
from cllm.model.config import config_for
from cllm.training import expected
from cllm.training.expected import FITTED_CONTEXT, bytes_per_token
from cllm.training.plan import most_passes

STARTS = 30  # of the optimization, from random places: it has local minima
KEY = re.compile(r"(\w+) \| (\w+) \| ([\d.]+)e12(?: \| ([\d.]+) of the documents)? \| (.+?) \| (\d+)(?: \| fast)?")
SIZE = re.compile(r"(\d+x\d+)(?: \+ vocabulary (\d+))?")
LEAST_CONTEXT = 1024  # of the trials that tell what little text costs
PLANNED = {"size", "vocabulary", "context", "batch", "dropout", "weight_decay", "renaming"}  # what the planner sets


@dataclass(frozen=True)
class Trial:
    """One training: what went in and what came out."""

    corpus: str
    size: str
    share: float  # of the corpus' documents
    operations: float
    tokens: float  # millions
    passes: float
    bits_per_byte: float
    vocabulary: int
    context: int = FITTED_CONTEXT

    @property
    def weights(self) -> float:
        """Millions, of the layers."""
        return config_for(self.size, self.vocabulary, FITTED_CONTEXT).in_layers / 1e6

    @property
    def text(self) -> float:
        """Million bytes that were read."""
        return self.tokens * bytes_per_token(self.vocabulary)

    @property
    def there(self) -> float:
        """Million bytes of the corpus."""
        return self.text / self.passes

    @property
    def off(self) -> float:
        """The logarithm of the figure against what the law gives for a large corpus."""
        config = config_for(self.size, self.vocabulary, self.context)
        return math.log(self.bits_per_byte / expected.law(config, 1e6 * self.tokens, 1e6 * self.there))


def finished_in(path: Path) -> Iterator[tuple[str, str, float, float, Point]]:
    """Corpus, variant, operations, share of the documents and result of each trial that was counted in operations."""
    for key, result in json.loads(path.read_text()).items():
        if (matched := KEY.fullmatch(key)) is not None and "epochs" in result:
            corpus, base, operations, share, name, _seed = matched.groups()
            yield corpus, base if name == "as it is" else name, float(operations) * 1e12, float(share or 1), result


def trials_in(path: Path, least: float) -> list[Trial]:
    """The trials of plain sizes with at least `least` operations."""
    found = []
    for corpus, name, operations, share, result in finished_in(path):
        plain = SIZE.fullmatch(name)
        if plain is not None and operations >= least:
            passed = (result["tokens"] / 1e6, result["epochs"], result["bits_per_byte"])
            found.append(Trial(corpus, plain[1], share, operations, *passed, int(plain[2] or 4096)))
    return found


def planned_in(path: Path) -> list[Trial]:
    """The trials that the planner could have asked for, of each the one with the best regularisation."""
    found: dict[tuple[Any, ...], Trial] = {}
    for corpus, name, operations, share, result in finished_in(path):
        try:
            changed = changes(name)
        except KeyError:  # of code that was not kept
            continue
        context = changed.get("context", FITTED_CONTEXT)
        if context < LEAST_CONTEXT or not changed.keys() <= PLANNED or "size" not in changed:
            continue
        passed = (result["tokens"] / 1e6, result["epochs"], result["bits_per_byte"])
        trial = Trial(corpus, changed["size"], share, operations, *passed, changed.get("vocabulary", 4096), context)
        parameters = config_for(trial.size, trial.vocabulary, context).parameters
        if trial.passes > most_passes(parameters, result["tokens"] / trial.passes):
            continue
        key = (corpus, trial.size, share, operations, trial.vocabulary, context)
        if key not in found or trial.bits_per_byte < found[key].bits_per_byte:
            found[key] = trial
    return list(found.values())


def little_text(trials: Sequence[Trial]) -> tuple[float, float]:
    """`ENOUGH` and `ENOUGH_POWER`: a line through the means of what the law is off for each corpus and share of it."""
    corpora: dict[tuple[str, float], list[Trial]] = {}
    for trial in trials:
        corpora.setdefault((trial.corpus, trial.share), []).append(trial)
    sizes = [statistics.fmean(math.log(t.there) for t in own) for own in corpora.values()]
    slope, intercept = statistics.linear_regression(
        sizes, [statistics.fmean(t.off for t in own) for own in corpora.values()]
    )
    return math.exp(-intercept / slope), -slope


class Law:
    """The form of `expected_bits`, with parameters to fit: logarithms, but for what differs between the corpora."""

    def __init__(self, trials: list[Trial]) -> None:
        self.trials, self.corpora = trials, sorted({t.corpus for t in trials})
        self._tokens, self._text, self._passes, self._weights, self._vocabulary, self._bits = (
            torch.tensor([getattr(t, name) for t in trials], dtype=torch.float64)
            for name in ("tokens", "text", "passes", "weights", "vocabulary", "bits_per_byte")
        )
        self._corpus = torch.tensor([self.corpora.index(t.corpus) for t in trials])

    def start(self, seed: int) -> Tensor:
        """A random place to begin at."""
        generator = torch.Generator().manual_seed(seed)
        n = len(self.corpora)
        usual = [*[-1.6] * n, *[-1.5] * n, -2.3, 0.1, 0.07, -3.8, 0.7, -3.0, -2.0]
        noise = torch.randn(len(usual), generator=generator, dtype=torch.float64)
        return (torch.tensor(usual, dtype=torch.float64) + 0.4 * noise).requires_grad_()

    def predicted(self, p: Tensor) -> Tensor:
        """Bits per byte of each trial."""
        n = len(self.corpora)
        least, power = p[:n].exp()[self._corpus], p[n : 2 * n].exp()[self._corpus]
        weights, weights_power, text, head_start, repeats, rare, long = p[2 * n :].exp()
        again = (self._passes - 1).clamp(min=0)
        worth = self._text / self._passes.clamp(min=1) * (1 + repeats * (1 - (-again / repeats).exp()))
        learnt = self._tokens / (self._tokens + rare * self._vocabulary / 1000) * (self._vocabulary / 1000) ** long
        bits: Tensor = least + weights * self._weights**-weights_power + text * (worth * learnt + head_start) ** -power
        return bits

    def error(self, p: Tensor) -> Tensor:
        """Mean square of the relative errors."""
        return (self.predicted(p).log() - self._bits.log()).square().mean()

    def fit(self) -> Tensor:
        """The best of several optimizations."""
        found: list[tuple[float, Tensor]] = []
        for seed in range(STARTS):
            p = self.start(seed)
            optimizer = torch.optim.LBFGS([p], max_iter=500, line_search_fn="strong_wolfe")

            def closure(p: Tensor = p, optimizer: torch.optim.Optimizer = optimizer) -> Tensor:
                optimizer.zero_grad()
                loss = self.error(p) + 1e-5 * p.square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            if math.isfinite(error := self.error(p).item()):
                found.append((error, p.detach()))
        return min(found, key=lambda pair: pair[0])[1]

    def constants(self, p: Tensor) -> dict[str, float]:
        """By their names in `cllm.training.expected`."""
        n = len(self.corpora)
        values = [p[:n].exp().mean(), *p[2 * n : 2 * n + 3].exp(), p[n : 2 * n].exp().mean(), *p[2 * n + 3 :].exp()]
        names = (
            "LEAST", "WEIGHTS", "WEIGHTS_POWER", "TEXT", "TEXT_POWER", "HEAD_START", "REPEATS", "RARE", "LONG",
        )  # fmt: skip
        return dict(zip(names, map(float, values), strict=True))


def main() -> None:
    """Fit, and write the constants and the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fits", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default %(default)s")
    parser.add_argument("--least", type=float, default=0, help="10^12 operations of the shortest trials (default 0)")
    options = parser.parse_args()
    kept = options.out / "recipe_trials.json"
    if not kept.is_file():
        parser.error(f"{kept} is not there: 'python -m benchmarks.recipe' makes it")
    trials = sorted(trials_in(kept, options.least * 1e12), key=lambda t: (t.corpus, -t.share, t.operations, t.weights))
    law = Law(trials)
    p = law.fit()
    constants = law.constants(p)
    rows = [
        [
            t.corpus, f"{t.share:g}", t.size, str(t.vocabulary), f"{t.operations / 1e12:g}", f"{t.tokens:.2f}",
            f"{t.passes:.2f}",
            f"{t.bits_per_byte:.3f}", f"{fitted:.3f}", f"{100 * (fitted / t.bits_per_byte - 1):+.1f} %",
        ]
        for t, fitted in zip(trials, law.predicted(p).tolist(), strict=True)
    ]  # fmt: skip
    header = [
        "Corpus",
        "share",
        "size",
        "10^12 operations",
        "million tokens",
        "passes",
        "bits per byte",
        "fit",
        "error",
    ]
    text = table(header, rows)
    text += f"\nRoot mean square of the errors: {100 * law.error(p).sqrt().item():.1f} %\n\n"
    planned = planned_in(kept)
    if len({(t.corpus, t.share) for t in planned}) > 1:
        constants |= dict(zip(("ENOUGH", "ENOUGH_POWER"), little_text(planned), strict=True))
    text += "\n".join(f"{name} = {value:.4g}" for name, value in constants.items()) + "\n"
    write_results(options.out, "fits", command_line("fits"), {"constants": constants}, text)


if __name__ == "__main__":
    main()
