"""Dealing: even, complete, with few cuts."""

import random

import pytest

from cllm.spheres import Piece, deal


def sizes(spheres: list[list[Piece]]) -> list[int]:
    return [sum(len(piece) for piece in pieces) for pieces in spheres]


def files_of_a_repository(total: int, seed: int) -> list[int]:
    """Token counts with the long tail that source files have."""
    random_ = random.Random(seed)
    counts = []
    while sum(counts) < total:
        counts.append(min(200_000, int(random_.lognormvariate(7, 1.3)) + 1))
    return counts


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["even", "directory"])
@pytest.mark.parametrize("spheres", [5, 12])
def test_even_to_one_percent(seed: int, how: str, spheres: int) -> None:
    counts = files_of_a_repository(1_300_000, seed)
    directories = [f"src/{random.Random(number // 7).randrange(25)}" for number in range(len(counts))]
    dealt = deal(counts, directories, spheres, how)
    mean = sum(counts) / spheres
    assert all(abs(size - mean) <= 0.01 * mean for size in sizes(dealt))
    larger_than_a_share = sum(count // int(mean) for count in counts)
    assert sum(map(len, dealt)) - len(counts) <= spheres - 1 + larger_than_a_share


def test_no_document_is_cut_without_need() -> None:
    counts = [100, 300, 200, 400, 300, 100, 200]
    dealt = deal(counts, [""] * 7, 4, "even")
    assert sizes(dealt) == [400] * 4
    assert sum(map(len, dealt)) == 7


def test_a_document_larger_than_a_share_is_cut() -> None:
    dealt = deal([1207], ["src"], 12, "even")
    assert sum(map(len, dealt)) == 12
    assert max(sizes(dealt)) - min(sizes(dealt)) <= 1
    dealt = deal([3000, 500, 500], ["a", "b", "c"], 4, "even")
    assert sizes(dealt) == [1000] * 4
    assert [piece for pieces in dealt for piece in pieces if piece.document == 1] == [Piece(1, 0, 500)]


def test_directories_stay_together() -> None:
    counts = [50] * 40
    directories = [f"d{number // 10}" for number in range(40)]
    dealt = deal(counts, directories, 4, "directory")
    assert [{directories[piece.document] for piece in pieces} for pieces in dealt] == [{"d0"}, {"d1"}, {"d2"}, {"d3"}]
    mixed = deal(counts, directories, 4, "even")
    assert any(len({directories[piece.document] for piece in pieces}) > 1 for pieces in mixed)


def test_a_directory_is_cut_between_its_files_where_that_is_enough() -> None:
    dealt = deal([100] * 24, ["src"] * 24, 12, "directory")
    assert sum(map(len, dealt)) == 24
    assert sizes(dealt) == [200] * 12


def test_empty_documents_and_fewer_tokens_than_spheres() -> None:
    assert sorted(deal([0, 3, 0], ["", "", ""], 2, "even")) == [[Piece(1, 0, 1)], [Piece(1, 1, 3)]]
    assert sorted(sizes(deal([2], [""], 12, "even"))) == [0] * 10 + [1, 1]
    assert deal([], [], 3, "even") == [[], [], []]


def test_a_hundred_thousand_documents_are_dealt_in_seconds() -> None:
    counts = files_of_a_repository(100_000 * 300, 1)
    dealt = deal(counts, [str(number // 20) for number in range(len(counts))], 12, "directory")
    assert sum(sizes(dealt)) == sum(counts)
