"""Train, validation and test: whole clusters of similar files, chosen by a stable hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from cllm.corpus.manifest import Split

HELD_OUT_SHARE = 0.05
LEAST_SHARE = 0.02
MOST_SHARE = 0.07
FEWEST_CLUSTERS = 20
TAIL_SHARE = 0.10
_SMALLEST_TO_CUT = 512
HELD_OUT: tuple[Split, Split] = ("validation", "test")
STRICTNESS: tuple[Split, ...] = ("train", "validation", "test")
"""Of two similar files, the later of these is the split of both."""


def position(content_hashes: Sequence[str], seed: int) -> float:
    """Where in [0, 1) a cluster lies: it depends on its smallest content hash and the seed, and on no other file."""
    digest = hashlib.sha256(f"{seed}:{min(content_hashes)}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / (1 << 56)


def by_position(place: float) -> Split:
    """The split of a cluster whose `position` is `place`, as long as no share is corrected."""
    return "validation" if place < HELD_OUT_SHARE else "test" if place < 2 * HELD_OUT_SHARE else "train"


def split_clusters(sizes: Mapping[int, int], positions: Mapping[int, float]) -> dict[int, Split] | None:
    """The split of each cluster, by its bytes and its position; None when there are too few clusters to hold any out.

    The lowest 5 % of positions are validation, the next 5 % test. Where that makes one of them smaller than 2 % of the
    bytes, it takes further clusters in the order of their positions; where larger than 7 %,
    it gives back its largest ones.
    """
    total = sum(sizes.values())
    if len(sizes) < FEWEST_CLUSTERS:
        return None
    order = sorted(sizes, key=lambda c: (positions[c], c))
    chosen = {cluster: by_position(positions[cluster]) for cluster in order}
    for name in HELD_OUT:
        share = sum(sizes[c] for c in order if chosen[c] == name) / total
        for cluster in sorted((c for c in order if chosen[c] == name), key=lambda c: -sizes[c]):
            if share <= MOST_SHARE:
                break
            chosen[cluster] = "train"
            share -= sizes[cluster] / total
        for cluster in order:
            if share >= LEAST_SHARE:
                break
            if chosen[cluster] == "train" and share + sizes[cluster] / total <= MOST_SHARE:
                chosen[cluster] = name
                share += sizes[cluster] / total
        if share < LEAST_SHARE / 2:
            return None
    return chosen


def cut_tail(text: bytes, force: bool = False) -> int | None:
    """Where the held-out tail of a text begins: about the last 10 %, at the beginning of a line.

    None for a text so short that it stays whole, unless `force`. A text of one line is cut between two characters.
    """
    if len(text) < 2 or (len(text) < _SMALLEST_TO_CUT and not force):
        return None
    want = min(len(text) - 1, int(len(text) * (1 - TAIL_SHARE)))
    before = text.rfind(b"\n", 0, want) + 1
    after = text.find(b"\n", want) + 1
    candidates = [c for c in (before, after) if 0 < c < len(text) and len(text) - c <= len(text) // 2]
    if candidates:
        return min(candidates, key=lambda c: abs(c - want))
    cut = want
    while cut > 0 and text[cut] & 0xC0 == 0x80:  # inside a UTF-8 character
        cut -= 1
    return cut or None
