"""Dealing the training documents to the spheres: which tokens belong to which shard.

A sphere is a fixed set of pieces of documents. The token counts are even, and documents are cut only where evenness
needs it: at most once for each sphere beyond what documents larger than a share need.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

TOLERANCE = 0.005  # largest difference between two spheres' token counts, as a part of the mean


@dataclass(frozen=True, order=True)
class Piece:
    """Tokens `start` to `stop` of document number `document`."""

    document: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


Unit = list[Piece]  # pieces that stay together: one document, or the documents of one directory


def deal(
    token_counts: Sequence[int], directories: Sequence[str], spheres: int, how: Literal["even", "directory"] = "even"
) -> list[list[Piece]]:
    """Deal documents with `token_counts` tokens to `spheres` spheres; every token goes to exactly one of them.

    Longest first to the sphere that has least (Graham 1969), then tokens are moved from full to empty spheres until
    the counts differ by no more than 0.5 % of the mean (or by one token). With `how="directory"`, documents with the
    same entry in `directories` stay together as far as evenness allows. Deterministic. Each sphere's pieces come in
    the order of the documents; with fewer tokens than spheres, some spheres stay empty.
    """
    units = _units(token_counts, directories, how)
    total = sum(token_counts)
    share = max(1, -(-total // spheres))
    parts = [part for unit in units for part in _equal_parts(unit, share)]
    parts.sort(key=lambda unit: (-_size(unit), unit[0]))

    dealt: list[list[Unit]] = [[] for _ in range(spheres)]
    heap = [(0, sphere) for sphere in range(spheres)]
    for unit in parts:
        load, sphere = heap[0]
        dealt[sphere].append(unit)
        heapq.heapreplace(heap, (load + _size(unit), sphere))

    _even_out(dealt, total)
    return [_joined([piece for unit in units for piece in unit]) for units in dealt]


def _size(unit: Unit) -> int:
    return sum(len(piece) for piece in unit)


def _units(token_counts: Sequence[int], directories: Sequence[str], how: str) -> list[Unit]:
    pieces = [Piece(document, 0, count) for document, count in enumerate(token_counts) if count > 0]
    if how == "even":
        return [[piece] for piece in pieces]
    pieces.sort(key=lambda piece: (directories[piece.document], piece.document))
    return [list(unit) for _, unit in groupby(pieces, key=lambda piece: directories[piece.document])]


def _equal_parts(unit: Unit, share: int) -> list[Unit]:
    """`unit`, or as many equal parts of it as are needed for none to be larger than `share`."""
    size = _size(unit)
    count = -(-size // share)
    parts, rest = [], unit
    for number in range(count, 1, -1):
        part, rest = _cut(rest, _size(rest) // number)
        parts.append(part)
    return [*parts, rest]


def _cut(unit: Unit, size: int) -> tuple[Unit, Unit]:
    """The first `size` tokens of `unit`, and the others."""
    head: Unit = []
    for number, piece in enumerate(unit):
        if len(piece) > size:
            tail = [Piece(piece.document, piece.start + size, piece.stop), *unit[number + 1 :]]
            if size > 0:
                head.append(Piece(piece.document, piece.start, piece.start + size))
            return head, tail
        head.append(piece)
        size -= len(piece)
    return head, []


def _even_out(dealt: list[list[Unit]], total: int) -> None:
    """Move tokens from the fullest to the emptiest sphere until the counts are even; each round mends one of them."""
    loads = [sum(_size(unit) for unit in units) for units in dealt]
    mean = total / len(dealt)
    while max(loads) - min(loads) > max(1.0, TOLERANCE * mean):
        full, empty = loads.index(max(loads)), loads.index(min(loads))
        surplus = max(1, min(int(loads[full] - mean), int(mean - loads[empty])))
        larger = [unit for unit in dealt[full] if _size(unit) > surplus]
        if larger:  # cut the smallest that is large enough: the large ones stay whole
            chosen = min(larger, key=lambda unit: (_size(unit), unit[0]))
            kept, moved = _cut(chosen, _size(chosen) - surplus)
            dealt[full].append(kept)
        else:
            chosen = moved = max(dealt[full], key=lambda unit: (_size(unit), unit[0]))
        dealt[full].remove(chosen)
        dealt[empty].append(moved)
        loads[full] -= _size(moved)
        loads[empty] += _size(moved)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Sorted, with pieces that follow each other in their document made one again."""
    result: list[Piece] = []
    for piece in sorted(pieces):
        if result and result[-1].document == piece.document and result[-1].stop == piece.start:
            piece = Piece(piece.document, result.pop().start, piece.stop)  # noqa: PLW2901
        result.append(piece)
    return result
