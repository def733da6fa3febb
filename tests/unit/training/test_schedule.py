"""The learning rate: up, level, down to zero."""

from __future__ import annotations

import pytest

from cllm.training.schedule import DECAY_BEGINS, learning_rate


def test_shape() -> None:
    assert learning_rate(1.0, 0.0, 0.1) == pytest.approx(0.01)
    assert learning_rate(1.0, 0.05, 0.1) == pytest.approx(0.5)
    assert learning_rate(1.0, 0.2, 0.1) == 1.0
    assert learning_rate(1.0, DECAY_BEGINS, 0.1) == 1.0
    assert learning_rate(1.0, (1 + DECAY_BEGINS) / 2, 0.1) == pytest.approx(0.5)
    assert learning_rate(1.0, 1.0, 0.1) == 0.0
    assert learning_rate(1.0, 1.2, 0.1) == 0.0


@pytest.mark.parametrize("warmup", [0.0, 0.02, 0.6, 1.0])
def test_it_is_never_negative_or_above_the_peak(warmup: float) -> None:
    rates = [learning_rate(2.0, p / 100, warmup) for p in range(101)]
    assert all(0 <= rate <= 2.0 for rate in rates)
    assert max(rates) > 1.9
