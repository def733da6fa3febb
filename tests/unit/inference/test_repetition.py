"""The penalty for repeating what was just generated."""

from __future__ import annotations

import torch
from torch import Tensor

from cllm.inference.repetition import ALLOWED, BASE, LONGEST, REACH, Repetitions


def after(tokens: list[int], vocabulary: int = 64) -> Tensor:
    """What is taken off the score of each token that may come next."""
    repetitions = Repetitions(0.8)
    for token in tokens:
        repetitions.add(token)
    return -repetitions.penalise(torch.zeros(vocabulary))


def by_definition(tokens: list[int], vocabulary: int = 64) -> Tensor:
    """The same, from the definition: the longest end of all that stands earlier, before each token."""
    penalties = torch.zeros(vocabulary)
    for place in range(len(tokens) - 1):
        length = 0
        while length <= place and tokens[place - length] == tokens[len(tokens) - 1 - length]:
            length += 1
        if length >= ALLOWED:
            penalty = 0.8 * BASE ** (min(length, LONGEST) - ALLOWED)
            penalties[tokens[place + 1]] = max(float(penalties[tokens[place + 1]]), penalty)
    return penalties


def test_a_short_repetition_is_free_and_a_longer_one_costs_more_and_more() -> None:
    passage = [5, 6, 7, 8, 9, 10]
    assert not after([]).any() and not after([5]).any()
    assert not after([*passage, 1, *passage[: ALLOWED - 1]]).any()
    first = after([*passage, 1, *passage[:ALLOWED]])
    second = after([*passage, 1, *passage[: ALLOWED + 1]])
    assert first.nonzero().flatten().tolist() == [passage[ALLOWED]]
    assert second.nonzero().flatten().tolist() == [passage[ALLOWED + 1]]
    assert float(first.max()) == float(torch.tensor(0.8)) < float(second.max())


def test_it_is_what_the_definition_says() -> None:
    generator = torch.Generator().manual_seed(3)
    for symbols in (1, 2, 3):
        tokens = torch.randint(0, symbols, (120,), generator=generator).tolist()
        for end in range(0, len(tokens), 7):
            torch.testing.assert_close(after(tokens[:end]), by_definition(tokens[:end]))


def test_it_stays_finite_and_bounded_in_memory() -> None:
    repetitions = Repetitions(100.0)
    for _ in range(REACH + 100):
        repetitions.add(1)
    assert torch.isfinite(repetitions.penalise(torch.zeros(4))).all()
    assert repetitions._ids.size == repetitions._lengths.size == REACH
