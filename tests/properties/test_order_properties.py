"""What dealing and the window order promise, for any documents, spheres, context and seed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.errors import EmptyCorpus
from cllm.order import NO_TARGET, WindowOrder
from cllm.spheres import TOLERANCE, Piece, deal

COUNTS = st.lists(st.integers(0, 60), max_size=25)
DOCUMENTS = st.tuples(COUNTS, st.lists(st.sampled_from(["a", "a/b", "c", ""]), min_size=25, max_size=25))
HOW = st.sampled_from(["even", "directory"])
END_OF_TEXT, FIRST = 0, 10


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.integers(1, 13), HOW)
def test_every_token_is_dealt_once_and_evenly(documents: tuple[list[int], list[str]], spheres: int, how: str) -> None:
    counts, directories = documents
    dealt = deal(counts, directories[: len(counts)], spheres, how)
    assert dealt == deal(counts, directories[: len(counts)], spheres, how)
    assert len(dealt) == spheres
    tokens = [
        (piece.document, token) for pieces in dealt for piece in pieces for token in range(piece.start, piece.stop)
    ]
    assert sorted(tokens) == [(document, token) for document, count in enumerate(counts) for token in range(count)]
    sizes = [sum(map(len, pieces)) for pieces in dealt]
    assert max(sizes) - min(sizes) <= max(1, TOLERANCE * sum(counts) / spheres)
    assert all(len(piece) > 0 for pieces in dealt for piece in pieces)
    if how == "even":
        share = max(1, -(-sum(counts) // spheres))
        assert sum(map(len, dealt)) <= sum(-(-count // share) for count in counts) + spheres - 1


def make(counts: list[int], dealt: list[list[Piece]], context: int, seed: int) -> WindowOrder | None:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    tokens = (np.arange(offsets[-1]) + FIRST).astype(np.uint16)
    try:
        return WindowOrder(tokens, offsets, dealt, context, END_OF_TEXT, seed)
    except EmptyCorpus:
        assert any(sum(map(len, pieces)) < 2 for pieces in dealt)
        return None


@settings(max_examples=300, deadline=None)
@given(DOCUMENTS, st.integers(1, 5), HOW, st.integers(1, 40), st.integers(0, 2**31 - 1), st.integers(0, 3))
def test_an_epoch_is_the_spheres_tokens_each_once_with_its_successor(
    documents: tuple[list[int], list[str]], spheres: int, how: str, context: int, seed: int, epoch: int
) -> None:
    counts, directories = documents
    dealt = deal(counts, directories[: len(counts)], spheres, how)
    order = make(counts, dealt, context, seed)
    if order is None:
        return
    offsets = np.concatenate([[0], np.cumsum(counts)]) + FIRST
    rings = [sum(len(piece) + (piece.start == 0) for piece in pieces) for pieces in dealt]
    n = order.windows_per_epoch
    assert n == max(1, min(rings) // context)
    for sphere, pieces in enumerate(dealt):
        batch = order.batch(sphere, epoch * n, n)
        real = min(context, rings[sphere])
        assert (batch.targets[:, real:] == NO_TARGET).all()
        inputs, targets, starts = batch.inputs[:, :real], batch.targets[:, :real], batch.starts[:, :real]

        firsts = {int(offsets[piece.document] + piece.start) for piece in pieces}
        openings = {int(offsets[piece.document]) for piece in pieces if piece.start == 0}
        successor = {}
        for piece in pieces:
            first, stop = (int(offsets[piece.document]) + place for place in (piece.start, piece.stop))
            successor |= {token: token + 1 for token in range(first, stop - 1)}
            successor[stop - 1] = END_OF_TEXT if piece.stop == counts[piece.document] else NO_TARGET

        seen = inputs[inputs != END_OF_TEXT].tolist()
        assert len(seen) == len(set(seen))
        assert set(seen) <= set(successor)
        assert inputs.size - len(seen) <= len(openings)
        if inputs.size == rings[sphere]:
            assert set(seen) == set(successor)
        opened = targets[inputs == END_OF_TEXT].tolist()
        assert len(opened) == len(set(opened))
        assert set(opened) <= openings
        for token, target in zip(inputs.flat, targets.flat, strict=True):
            if token != END_OF_TEXT:
                assert target == successor[int(token)]
        begins = inputs == END_OF_TEXT
        begins |= np.isin(inputs, list(firsts - openings))
        begins[:, 0] = True
        assert np.array_equal(starts, begins)


@settings(max_examples=100, deadline=None)
@given(COUNTS, st.integers(2, 12), st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=6))
def test_windows_are_a_function_of_their_number(counts: list[int], context: int, asked: list[tuple[int, int]]) -> None:
    dealt = deal(counts, [""] * len(counts), 2, "even")
    order = make(counts, dealt, context, 5)
    for first, count in asked if order is not None else []:
        batch = order.batch(1, first, count)
        fresh = [make(counts, dealt, context, 5).batch(1, number, 1) for number in range(first, first + count)]
        for name in ("inputs", "targets", "starts"):
            assert np.array_equal(getattr(batch, name), np.concatenate([getattr(single, name) for single in fresh]))
