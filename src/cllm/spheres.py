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
    parts = [part for unit in units for part in _parts(unit, share)]
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


def _parts(unit: Unit, share: int) -> list[Unit]:
    """`unit` in about equal parts, none larger than `share`; cut between documents where it has several."""
    parts, rest = [], unit
    while (size := _size(rest)) > share:
        part, rest = _cut(rest, size // -(-size // share))
        if len(part) > 1 and part[-1].document == rest[0].document:
            rest = [Piece(part[-1].document, part.pop().start, rest[0].stop), *rest[1:]]
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
    """Move tokens from the fullest to the emptiest sphere until the counts are even.

    Each round brings one of the two to its even share, or moves a whole unit, so there are fewer cuts than spheres.
    """
    loads = [sum(_size(unit) for unit in units) for units in dealt]
    even, remainder = divmod(total, len(dealt))
    surplus = [load - even for load in loads]
    for sphere in sorted(range(len(dealt)), key=lambda sphere: -loads[sphere])[:remainder]:
        surplus[sphere] -= 1  # these keep a token more
    while max(loads) - min(loads) > max(1.0, TOLERANCE * total / len(dealt)):
        full, empty = surplus.index(max(surplus)), surplus.index(min(surplus))
        wanted = min(surplus[full], -surplus[empty])
        larger = [unit for unit in dealt[full] if _size(unit) > wanted]
        if larger:  # cut the smallest that is large enough: the large ones stay whole
            chosen = min(larger, key=lambda unit: (_size(unit), unit[0]))
            kept, moved = _cut(chosen, _size(chosen) - wanted)
            dealt[full].append(kept)
        else:
            chosen = moved = max(dealt[full], key=lambda unit: (_size(unit), unit[0]))
        dealt[full].remove(chosen)
        dealt[empty].append(moved)
        for counts in (loads, surplus):
            counts[full] -= _size(moved)
            counts[empty] += _size(moved)


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Sorted, with pieces that follow each other in their document made one again."""
    result: list[Piece] = []
    for piece in sorted(pieces):
        if result and result[-1].document == piece.document and result[-1].stop == piece.start:
            piece = Piece(piece.document, result.pop().start, piece.stop)  # noqa: PLW2901
        result.append(piece)
    return result
