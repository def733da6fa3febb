"""The planner's law, fitted to trials that it made itself, and the names of trials."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import fits
from benchmarks.fits import Law, Trial, little_text, planned_in, trials_in
from benchmarks.recipe import changes
from cllm.model.config import config_for
from cllm.training import expected
from cllm.training.expected import bytes_per_token, expected_bits, law, of_little_text, worth

CORPUS = 6_000_000


def made_up(size: str, vocabulary: int, operations: float) -> Trial:
    config = config_for(size, vocabulary, 256)
    tokens = operations / config.flops_per_token(256)
    passes = tokens * bytes_per_token(vocabulary) / CORPUS
    bits = law(config, tokens, CORPUS)
    return Trial("c", size, 1.0, operations, tokens / 1e6, passes, bits, vocabulary)


def test_the_law_is_found_again_in_what_it_foretells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits, "STARTS", 8)
    trials = [
        made_up(size, vocabulary, operations)
        for size in ("2x128", "3x128", "4x192", "6x256")
        for vocabulary in (1024, 4096)
        for operations in (2e12, 8e12, 30e12, 200e12)
    ]
    law = Law(trials)
    assert law.error(law.fit()).sqrt() < 0.01


def test_more_text_more_weights_and_new_text_help() -> None:
    config, larger = config_for("3x128", 2048, 256), config_for("4x192", 2048, 256)
    assert expected_bits(config, 2e6, CORPUS) < expected_bits(config, 1e6, CORPUS)
    assert expected_bits(larger, 1e6, CORPUS) < expected_bits(config, 1e6, CORPUS)
    assert expected_bits(config, 2e7, 10 * CORPUS) < expected_bits(config, 2e7, CORPUS)
    assert worth(1e6, 2e6) == 1e6
    assert 2e6 < worth(4e6, 2e6) < 4e6
    assert worth(1e12, 2e6) == pytest.approx(worth(1e13, 2e6))


def test_a_small_corpus_is_expected_to_come_out_worse_a_large_one_as_the_largest_that_was_measured() -> None:
    assert of_little_text(2_000) > of_little_text(60_000) > of_little_text(1_000_000) > 1 > of_little_text(6_500_000)
    assert of_little_text(6_500_000) == of_little_text(50_000_000)
    assert of_little_text(0) < 4


def test_what_little_text_costs_is_found_again_in_what_it_foretells() -> None:
    config = config_for("2x128", 1024, 1024)
    trials = []
    for corpus, off in (("a", 1.05), ("b", 1 / 1.05)):
        for megabytes in (0.1, 1.0, 5.0):
            passes = 4.0
            tokens = passes * megabytes / bytes_per_token(1024)
            bits = off * expected_bits(config, 1e6 * tokens, 1e6 * megabytes)
            trials.append(Trial(corpus, "2x128", megabytes, 1e12, tokens, passes, bits, 1024, 1024))
    assert little_text(trials) == pytest.approx((expected.ENOUGH, expected.ENOUGH_POWER))


def test_of_trials_with_the_planners_windows_the_best_regularised_counts(tmp_path: Path) -> None:
    start = "glibc | 3x128 | 6e12 | 0.1 of the documents | 2x128 + vocabulary 512 + context 1024 and batch 4"
    keys = {
        f"{start} | 0 | fast": 1.5, f"{start} + renaming 0.3 + dropout 0.1 | 1 | fast": 1.4,
        f"{start} + batch 8 | 0": 1.45,
        f"{start} + all far | 0": 1.1, f"{start} + something that was not kept | 0": 1.2,
        "glibc | 3x128 | 6e12 | 2x128 + context 512 and batch 8 | 0": 1.3, "glibc | 3x128 | 6e12 | as it is | 0": 1.3,
    }  # fmt: skip
    results = {key: {"tokens": 1e6, "epochs": 2.0, "bits_per_byte": bits} for key, bits in keys.items()}
    results[f"{start} + renaming 0.4 | 1"] = {"tokens": 1e6, "epochs": 200.0, "bits_per_byte": 1.0}  # never planned
    path = tmp_path / "trials.json"
    path.write_text(json.dumps(results))
    (found,) = planned_in(path)
    assert (found.bits_per_byte, found.context, found.vocabulary, found.share) == (1.4, 1024, 512, 0.1)
    assert found.there == pytest.approx(bytes_per_token(512) / 2)


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
    found = [(t.size, t.share, t.vocabulary) for t in trials_in(path, 0)]
    assert found == [value for value in keys.values() if value is not None]
    assert [t.operations for t in trials_in(path, 2e12)] == [6e12, 6e12]


def test_variants_can_be_joined() -> None:
    assert changes("as it is") == {}
    assert changes("2x128 + vocabulary 2048 + dropout 0.1") == {"size": "2x128", "vocabulary": 2048, "dropout": 0.1}
    assert changes("4x192 + renaming 0.15 + batch 12") == {"size": "4x192", "renaming": 0.15, "batch": 12}
    assert changes("context 2048 and batch 2 + weight decay 1") == {"context": 2048, "batch": 2, "weight_decay": 1}
    for unknown in ("vocabulary many", "batch 1.5", "luck 3", "tied 1"):
        with pytest.raises(KeyError, match=unknown):
            changes(f"2x128 + {unknown}")
