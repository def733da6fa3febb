"""How like the training files held-out ones are, by PPMd."""

from __future__ import annotations

import random

import pytest

from cllm.corpus import likeness
from cllm.corpus.likeness import ppmd_bits_per_byte

LINES = [f"    value_{number} = compute({number * 37 % 101}, name='{number * 61 % 997}')\n" for number in range(400)]
TRAINING = [line.encode() for line in LINES[:350]]


def test_what_was_read_before_costs_little_what_is_alike_more_and_noise_most() -> None:
    noise = random.Random(0).randbytes(2000)
    again, alike, other = (
        ppmd_bits_per_byte(TRAINING, [text])
        for text in (b"".join(TRAINING[100:150]), "".join(LINES[350:]).encode(), noise)
    )
    assert again is not None and alike is not None and other is not None
    assert again < 0.7 * alike
    assert alike < 3
    assert other > 7


def test_nothing_held_out_is_no_figure_and_little_text_is_no_error() -> None:
    assert ppmd_bits_per_byte(TRAINING, []) is None
    assert ppmd_bits_per_byte([], []) is None
    assert (ppmd_bits_per_byte([], [b"x"]) or 0) > 8


def test_only_so_much_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"".join(TRAINING)
    monkeypatch.setattr(likeness, "TRAINING_BYTES", 1000)
    monkeypatch.setattr(likeness, "HELD_OUT_BYTES", 500)
    assert ppmd_bits_per_byte([text], [text]) == ppmd_bits_per_byte([text[:1000]], [text[:500]])
