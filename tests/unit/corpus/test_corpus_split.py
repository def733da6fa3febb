"""The split: stable, sound on small corpora, and never without a held-out part."""

from __future__ import annotations

import random

import pytest

from cllm.corpus import split


def shares(chosen: dict[int, split.Split], sizes: dict[int, int]) -> dict[str, float]:
    total = sum(sizes.values())
    return {name: sum(sizes[c] for c in chosen if chosen[c] == name) / total for name in split.STRICTNESS}


def corpus(count: int, seed: int) -> tuple[dict[int, int], dict[int, float]]:
    rng = random.Random(seed)
    sizes = {c: int(rng.lognormvariate(9, 1)) + 50 for c in range(count)}
    return sizes, {c: split.position([f"{seed}-{c}"], 0) for c in sizes}


def test_a_large_corpus_is_split_about_90_5_5() -> None:
    sizes, positions = corpus(5000, 1)
    chosen = split.split_clusters(sizes, positions)
    assert chosen is not None
    result = shares(chosen, sizes)
    assert result["validation"] == pytest.approx(0.05, abs=0.01)
    assert result["test"] == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("seed", range(30))
def test_small_corpora_hold_out_enough_and_not_too_much(seed: int) -> None:
    sizes, positions = corpus(30, seed)
    chosen = split.split_clusters(sizes, positions)
    if chosen is None:
        return
    result = shares(chosen, sizes)
    for name in split.HELD_OUT:
        assert 0.01 <= result[name] <= 0.075
    assert set(chosen) == set(sizes)


def test_most_small_corpora_can_be_split_by_clusters() -> None:
    assert sum(split.split_clusters(*corpus(30, seed)) is not None for seed in range(30)) >= 28


def test_a_new_file_moves_no_other() -> None:
    sizes, positions = corpus(2000, 2)
    before = split.split_clusters(sizes, positions)
    after = split.split_clusters(sizes | {9999: 1000}, positions | {9999: 0.01})
    assert before is not None and after is not None
    assert {c: after[c] for c in before} == before


def test_the_seed_and_the_contents_decide() -> None:
    assert split.position(["b", "a"], 0) == split.position(["a"], 0) != split.position(["a"], 1)
    assert 0 <= split.position(["a"], 0) < 1


def test_too_few_clusters() -> None:
    assert split.split_clusters({c: 100 for c in range(19)}, {c: c / 19 for c in range(19)}) is None
    assert split.split_clusters({c: 100 for c in range(20)}, {c: c / 20 for c in range(20)}) is not None
    one_huge = {c: 1 for c in range(30)} | {0: 10**9}
    assert split.split_clusters(one_huge, {c: c / 30 for c in range(30)}) is None


def test_a_tail_begins_with_a_line() -> None:
    text = b"".join(b"line %d\n" % n for n in range(200))
    at = split.cut_tail(text)
    assert at is not None
    assert text[at - 1 : at] == b"\n"
    assert 0.85 < at / len(text) < 0.95


def test_a_tail_of_one_long_line_does_not_cut_a_character() -> None:
    text = ("a" + "é" * 1000).encode()
    at = split.cut_tail(text)
    assert at is not None
    assert text[:at].decode() + text[at:].decode() == "a" + "é" * 1000
    assert split.cut_tail(b"short\n") is None
    assert split.cut_tail(b"short text\n", force=True) is not None
    assert split.cut_tail(b"x", force=True) is None
