"""The planner's law, fitted to trials that it made itself, and the names of trials."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import fits
from benchmarks.fits import RUN, Trial, errors_of, fit, runs_in, trials_in
from benchmarks.recipe import changes
from benchmarks.runs import FILE
from cllm.model.config import config_for
from cllm.training.expected import FITTED, TYPICAL, bytes_per_token, expected_bits

CORPUS = 6_000_000


def made_up(corpus: str, off: float, size: str, vocabulary: int, operations: float, share: float = 1.0) -> Trial:
    """What a training would come to by the law of now, on a corpus of which that is always off by as much."""
    config = config_for(size, vocabulary, 2048)
    tokens = operations / config.flops_per_token(2048)
    passes = tokens * bytes_per_token(vocabulary) / (share * CORPUS)
    bits = off * FITTED.bits(config, tokens, share * CORPUS)
    return Trial(corpus, share, f"{operations / 1e12:g}e12", size, vocabulary, 2048, tokens, passes, bits, TYPICAL, RUN)


MADE_UP = [
    made_up(corpus, off, size, vocabulary, operations, share)
    for corpus, off in (("c", 0.9), ("python", 1 / 0.9))
    for size, vocabulary in (("2x128", 1024), ("4x128", 4096), ("4x192", 2048))
    for operations in (6e12, 150e12)
    for share in (1.0, 0.25)
]


def test_the_law_is_found_again_in_what_it_foretells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "STARTS", 1)
    monkeypatch.setattr(fits, "TRIES", 1500)
    start = replace(FITTED, weights=3 * FITTED.weights, repeats=FITTED.repeats / 3)
    before, after = errors_of(start, MADE_UP), errors_of(fit(MADE_UP, start), MADE_UP)
    assert before.within > 0.01
    assert after.within < before.within / 4
    assert abs(after.mean) < 0.01


def test_a_corpus_that_is_always_off_by_as_much_is_no_error_but_in_the_mean() -> None:
    errors = errors_of(FITTED, MADE_UP)
    assert (errors.within, errors.across, errors.mean) == pytest.approx((0, 0, 0))
    worse = replace(MADE_UP[0], bits_per_byte=1.1 * MADE_UP[0].bits_per_byte)
    assert errors_of(FITTED, [worse, *MADE_UP[1:]]).within > 0.01
    assert errors_of(FITTED, [t for t in MADE_UP if t.corpus == "c"]).mean == pytest.approx(-0.105, abs=0.001)


def test_more_text_more_weights_and_new_text_help() -> None:
    config, larger = config_for("3x128", 2048, 256), config_for("4x192", 2048, 256)
    assert expected_bits(config, 2e6, CORPUS) < expected_bits(config, 1e6, CORPUS)
    assert expected_bits(larger, 1e8, 20 * CORPUS) < expected_bits(config, 1e8, 20 * CORPUS)
    assert expected_bits(config, 2e7, 10 * CORPUS) < expected_bits(config, 2e7, CORPUS)
    assert FITTED.worth(1e6, 2e6) == 1e6
    assert 2e6 < FITTED.worth(4e6, 2e6) < 4e6
    assert FITTED.worth(1e12, 2e6) == pytest.approx(FITTED.worth(1e13, 2e6))


def test_files_that_a_compressor_finds_like_the_training_files_are_expected_to_cost_less() -> None:
    config = config_for("3x128", 2048, 256)
    as_it_is = expected_bits(config, 2e6, CORPUS)
    assert expected_bits(config, 2e6, CORPUS, 0.8 * TYPICAL) < 0.95 * as_it_is
    assert expected_bits(config, 2e6, CORPUS, TYPICAL) == as_it_is < expected_bits(config, 2e6, CORPUS, 2 * TYPICAL)


def test_of_trials_that_could_have_been_planned_the_best_regularised_counts(tmp_path: Path) -> None:
    start = "glibc | 3x128 | 6e12 | 0.1 of the documents | 2x128 + vocabulary 512 + context 1024 and batch 4"
    keys = {
        f"{start} | 0 | fast": 1.5, f"{start} + renaming 0.3 + dropout 0.1 | 1 | fast": 1.4,
        f"{start} + batch 8 | 0": 1.45, f"{start} + all far | 0": 1.1, f"{start} + not kept | 0": 1.2,
        f"{start.replace('0.1 of', '0.01 of')} | 0": 1.3,
        "glibc | 3x128 | 6e12 | 2x128 + context 512 and batch 8 | 0": 1.3,
    }  # fmt: skip
    results = {key: {"tokens": 1e6, "epochs": 2.0, "bits_per_byte": bits} for key, bits in keys.items()}
    results[f"{start} + renaming 0.4 | 1"] = {"tokens": 1e6, "epochs": 200.0, "bits_per_byte": 1.0}  # never planned
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(results))
    (found,) = trials_in(path)
    assert (found.bits_per_byte, found.context, found.vocabulary, found.share) == (1.4, 1024, 512, 0.1)
    assert found.there == pytest.approx(1e6 * bytes_per_token(512) / 2)


def test_trials_are_known_by_their_keys(tmp_path: Path) -> None:
    result = {"tokens": 1e6, "epochs": 0.5, "bits_per_byte": 1.25}
    keys = {
        "glibc | 3x128 | 6e12 | as it is | 0": ("3x128", 1.0, 4096),
        "glibc | 3x128 | 1.5e12 | 2x96 + vocabulary 512 | 1": ("2x96", 1.0, 512),
        "stdlib | 3x128 | 6e12 | 0.1 of the documents | 4x128 | 0": ("4x128", 0.1, 4096),
        "stdlib | 3x128 | 6e12 | batch 8 | 0": None,
        "stdlib | 3x128 | 6e12 | 2x128 + dropout 0.1 | 0": None,
        "glibc | 3x128 | 150 s | as it is | 0": None,
    }
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(dict.fromkeys(keys, result)))
    found = [(t.size, t.share, t.vocabulary) for t in trials_in(path)]
    assert found == [value for value in keys.values() if value is not None]


def test_whole_runs_of_equal_time_are_a_group(tmp_path: Path) -> None:
    plan = {"size": "2x128", "vocabulary": 1024, "context": 2048}
    run = {
        "corpus": "glibc", "minutes": 5.0, "plan": plan, "tokens": 5e6, "passes": 2.5, "validation_bits_per_byte": 0.9
    }  # fmt: skip
    (tmp_path / "runs.json").write_text(json.dumps([run, {**run, "plan": {**plan, "size": "3x128"}}]))
    first, second = runs_in(tmp_path / "runs.json")
    assert (first.group, first.effort) == (second.group, "5 min")
    assert (first.size, second.size, first.bits_per_byte) == ("2x128", "3x128", 0.9)
    assert list(runs_in(tmp_path / "none.json")) == []


def test_variants_can_be_joined() -> None:
    assert changes("as it is") == {}
    assert changes("2x128 + vocabulary 2048 + dropout 0.1") == {"size": "2x128", "vocabulary": 2048, "dropout": 0.1}
    assert changes("4x192 + renaming 0.15 + batch 12") == {"size": "4x192", "renaming": 0.15, "batch": 12}
    assert changes("context 2048 and batch 2 + weight decay 1") == {"context": 2048, "batch": 2, "weight_decay": 1}
    for unknown in ("vocabulary many", "batch 1.5", "luck 3", "tied 1"):
        with pytest.raises(KeyError, match=unknown):
            changes(f"2x128 + {unknown}")


def test_the_law_is_that_of_the_trials_which_stay_with_the_code() -> None:
    trials = [*trials_in(fits.KEPT / fits.TRIALS), *runs_in(fits.KEPT / FILE)]
    assert {trial.corpus for trial in trials} == {"glibc", "stdlib"}
    errors = errors_of(FITTED, trials)
    assert errors.within < 0.007 and errors.across < 0.02 and abs(errors.mean) < 0.005
    assert errors_of(replace(FITTED, wide=2 * FITTED.wide), trials).loss > errors.loss
