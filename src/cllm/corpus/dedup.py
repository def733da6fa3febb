"""Near duplicates: MinHash signatures of token 5-grams, locality-sensitive hashing, clusters by union-find.

Broder 1997 (resemblance, MinHash); Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3 (banding).
Tokens are runs of word characters, and single other visible characters, as Lee et al. 2022 and StarCoder's
preparation use them in spirit: white space does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from rensa import RMinHash

PERMUTATIONS = 256
_BANDS = 64  # of 4 values each: a pair of Jaccard 0.5 is found with probability 0.98, one of 0.2 with 0.10
_ROWS = PERMUTATIONS // _BANDS
NEAR_DUPLICATE = 0.75
SIMILAR = 0.5
"""Estimated Jaccard indices from which a file is a near duplicate of another, and from which two are in one cluster."""
_NGRAM = 5
_SEED = 20260101
_ALL_PAIRS = 24

Hashes = npt.NDArray[np.uint64]

_LONGEST = 1 << 20
_MULTIPLIER = 0x9E3779B97F4A7C15
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)


def _powers(base: int) -> Hashes:
    powers = np.full(_LONGEST, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_POWERS = _powers(_MULTIPLIER)
_INVERSE_POWERS = _powers(_INVERSE)
_BYTE_VALUES = np.random.default_rng(_SEED).integers(0, 1 << 64, 256, dtype=np.uint64)
_SPACE, _WORD, _OTHER = 0, 1, 2
_CLASS = np.full(256, _OTHER, np.uint8)
for _byte in range(256):
    if _byte >= 0x80 or chr(_byte).isalnum() or _byte == ord("_"):
        _CLASS[_byte] = _WORD
    elif _byte <= 0x20 or _byte == 0x7F:
        _CLASS[_byte] = _SPACE
_BYTE_VALUES[_CLASS == _SPACE] = 0
_POSITIONS = np.random.default_rng(_SEED + 1).integers(0, 1 << 63, _NGRAM, dtype=np.uint64) * 2 + 1


def token_hashes(text: bytes) -> Hashes:
    """(tokens,) a 64-bit hash of each token: equal tokens have equal hashes. Only the first MiB is looked at.

    A polynomial over the bytes modulo 2^64, for all tokens at once: each byte is weighed by a power of its position in
    the text, and a token's sum is divided by the power of its start (the multiplier is odd, so it has an inverse).
    """
    data = np.frombuffer(text, np.uint8, count=min(len(text), _LONGEST))
    kinds = _CLASS[data]
    begins = kinds == _WORD
    begins[1:] &= kinds[:-1] != _WORD
    begins |= kinds == _OTHER
    starts = np.flatnonzero(begins)
    if len(starts) == 0:
        return np.zeros(0, np.uint64)
    weighed = _BYTE_VALUES[data]
    weighed *= _POWERS[: len(data)]
    sums: Hashes = np.add.reduceat(weighed, starts)
    sums *= _INVERSE_POWERS[starts]
    return _mix(sums)


def _mix(values: Hashes) -> Hashes:
    """Finaliser of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Hashes = values ^ (values >> np.uint64(31))
    return mixed


def shingles(text: bytes) -> Hashes:
    """(n,) hashes of the token 5-grams of `text`; of a shorter text, one hash of all of it."""
    tokens = token_hashes(text)
    width = min(_NGRAM, len(tokens))
    if width == 0:
        return np.zeros(1, np.uint64)
    count = len(tokens) - width + 1
    total = np.zeros(count, np.uint64)
    for position in range(width):
        total += tokens[position : position + count] * _POSITIONS[position]
    return _mix(total)


def signatures(texts: Sequence[bytes]) -> npt.NDArray[np.uint32]:
    """(texts, PERMUTATIONS) MinHash signatures."""
    if not texts:
        return np.zeros((0, PERMUTATIONS), np.uint32)
    hashes = [shingles(text) for text in texts]
    offsets = np.cumsum([0, *map(len, hashes)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(hashes), offsets, PERMUTATIONS, _SEED)
    return np.asarray(matrix.to_rows(), dtype=np.uint32)


def similar_pairs(rows: npt.NDArray[np.uint32]) -> list[tuple[int, int, float]]:
    """Pairs i < j with an estimated Jaccard index of at least SIMILAR, sorted, with the estimate.

    In a bucket of many files each is compared with the first and its neighbour only, which is enough for clusters.
    """
    count = len(rows)
    codes = [np.zeros(0, np.int64)]  # i * count + j
    for band in range(_BANDS):
        keys = (rows[:, band * _ROWS : (band + 1) * _ROWS] * _POSITIONS[:_ROWS]).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")  # so that the members of a bucket ascend
        for i, j in _pairs_in(order, keys[order]):
            codes.append(i * count + j)
    index = np.unique(np.concatenate(codes))
    found: list[tuple[int, int, float]] = []
    for block in np.array_split(index, len(index) // 4096 + 1):
        first, second = np.divmod(block, max(1, count))
        estimates = (rows[first] == rows[second]).mean(axis=1)
        near = estimates >= SIMILAR
        found += zip(first[near].tolist(), second[near].tolist(), estimates[near].tolist(), strict=True)
    return found


def _pairs_in(order: npt.NDArray[np.int64], keys: Hashes) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
    """Pairs of members of one bucket: positions in `order` whose `keys`, which are sorted, are equal."""
    if len(order) < 2:
        return
    begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    sizes = np.diff(begins, append=len(order))
    bucket = np.repeat(np.arange(len(begins)), sizes)
    few = (sizes <= _ALL_PAIRS)[bucket]
    for apart in range(1, min(_ALL_PAIRS, int(sizes.max(initial=0)))):
        same = bucket[apart:] == bucket[:-apart]
        if apart > 1:
            same &= few[apart:]
        yield order[:-apart][same], order[apart:][same]
    many = ~few
    many[begins] = False
    yield order[begins[bucket[many]]], order[many]


def near_duplicates(pairs: Sequence[tuple[int, int, float]]) -> dict[int, int]:
    """Index of each near duplicate -> index of the earlier one that is kept."""
    earlier: dict[int, list[int]] = defaultdict(list)
    for i, j, estimate in pairs:
        if estimate >= NEAR_DUPLICATE:
            earlier[j].append(i)
    dropped: dict[int, int] = {}
    for j in sorted(earlier):
        kept = [i for i in earlier[j] if i not in dropped]
        if kept:
            dropped[j] = min(kept)
    return dropped


def clusters(count: int, pairs: Sequence[tuple[int, int, float]]) -> list[int]:
    """For each of `count` files the smallest index in its cluster (union-find with path halving)."""
    parent = list(range(count))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j, _ in pairs:
        a, b = find(i), find(j)
        parent[max(a, b)] = min(a, b)
    return [find(i) for i in range(count)]
