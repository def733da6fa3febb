"""Near duplicates and clusters, against the Jaccard index computed exactly."""

from __future__ import annotations

import random
import re

import numpy as np

from cllm.corpus import dedup

WORDS = [f"word{n}" for n in range(500)]


def text_of(words: list[str]) -> bytes:
    return "\n".join(" ".join(words[i : i + 8]) for i in range(0, len(words), 8)).encode()


def exact_jaccard(a: bytes, b: bytes) -> float:
    def grams(text: bytes) -> set[tuple[bytes, ...]]:
        tokens = re.findall(rb"[\w\x80-\xff]+|[^\w\s]", text)
        return {tuple(tokens[i : i + 5]) for i in range(len(tokens) - 4)}

    first, second = grams(a), grams(b)
    return len(first & second) / len(first | second)


def changed(words: list[str], count: int, rng: random.Random) -> list[str]:
    words = list(words)
    start = rng.randrange(len(words) - count)
    words[start : start + count] = rng.choices(WORDS, k=count)
    return words


def test_tokens() -> None:
    tokens = dedup.token_hashes(b"foo(bar) + foo\n\tbar_2 \xc3\xa9t\xc3\xa9")
    assert len(tokens) == 8  # foo ( bar ) + foo bar_2 été
    assert tokens[0] == tokens[5]
    assert len(set(tokens.tolist())) == 7
    assert np.array_equal(tokens, dedup.token_hashes(b"\n foo ( bar ) +\n\n foo bar_2 \xc3\xa9t\xc3\xa9  "))
    assert len(dedup.token_hashes(b" \n\t")) == 0


def test_different_tokens_have_different_hashes() -> None:
    names = {f"{a}{b}" for a in ("a", "b", "ab", "ba", "aa") for b in range(2000)}
    hashes = dedup.token_hashes(" ".join(sorted(names)).encode())
    assert len(set(hashes.tolist())) == len(names)


def test_estimates_are_close_to_the_exact_index() -> None:
    rng = random.Random(3)
    for share in (0.02, 0.1, 0.2, 0.4):
        words = rng.choices(WORDS, k=800)
        pair = [text_of(words), text_of(changed(words, int(800 * share), rng))]
        rows = dedup.signatures(pair)
        assert abs((rows[0] == rows[1]).mean() - exact_jaccard(*pair)) < 0.12


def test_pairs_clusters_and_which_are_kept() -> None:
    rng = random.Random(5)
    base = rng.choices(WORDS, k=800)
    near = changed(base, 40, rng)  # about 0.9
    similar = changed(base, 200, rng)  # about 0.6: in the cluster, but kept
    other = rng.choices(WORDS, k=800)
    texts = [text_of(words) for words in (base, other, similar, near)]
    assert exact_jaccard(texts[0], texts[3]) > 0.8
    assert 0.55 < exact_jaccard(texts[0], texts[2]) < 0.68
    pairs = dedup.similar_pairs(dedup.signatures(texts))
    assert {(i, j) for i, j, _ in pairs} >= {(0, 2), (0, 3)}
    assert all(1 not in pair[:2] for pair in pairs)
    assert dedup.near_duplicates(pairs) == {3: 0}
    assert dedup.clusters(4, pairs) == [0, 1, 0, 0]


def test_a_chain_is_one_cluster_but_only_what_is_near_a_kept_file_is_dropped() -> None:
    pairs = [(0, 1, 0.8), (1, 2, 0.8), (2, 3, 0.6)]
    assert dedup.near_duplicates(pairs) == {1: 0}
    assert dedup.clusters(5, pairs) == [0, 0, 0, 0, 4]
    assert dedup.clusters(4, [(0, 3, 0.6), (1, 2, 0.6), (2, 3, 0.6)]) == [0, 0, 0, 0]


def test_many_copies_of_one_template_are_one_cluster() -> None:
    rng = random.Random(7)
    base = rng.choices(WORDS, k=400)
    texts = [text_of([*base, f"name{n}"]) for n in range(60)]
    pairs = dedup.similar_pairs(dedup.signatures(texts))
    assert set(dedup.clusters(60, pairs)) == {0}
    assert len(dedup.near_duplicates(pairs)) == 59


def test_short_texts_are_alike_only_when_they_are_equal() -> None:
    rows = dedup.signatures([b"import a", b"import b", b"import  a\n", b"..."])
    assert [(i, j) for i, j, _ in dedup.similar_pairs(rows)] == [(0, 2)]


def test_pairs_of_large_and_small_buckets() -> None:
    """Against the plain loops: all pairs of few members; of many, each with the first and with its neighbour."""
    rng = np.random.default_rng(0)
    values = np.concatenate([np.repeat(np.arange(8), [1, 2, 3, 5, 24, 25, 60, 1]), rng.integers(100, 400, 300)])
    rng.shuffle(values)
    order = np.argsort(values, kind="stable")
    found = [set(zip(i.tolist(), j.tolist(), strict=True)) for i, j in dedup._pairs_in(order, values[order])]
    expected = set()
    for value in set(values.tolist()):
        members = np.flatnonzero(values == value).tolist()
        few = len(members) <= 24
        for n, i in enumerate(members):
            expected |= {(i, j) for m, j in enumerate(members) if m > n and (few or n == 0 or m == n + 1)}
    assert set().union(*found) == expected
    assert dedup.similar_pairs(np.zeros((0, dedup.PERMUTATIONS), np.uint32)) == []
