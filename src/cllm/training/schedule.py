"""The learning rate as a function of progress, and nothing else."""

from __future__ import annotations

DECAY_BEGINS = 0.4  # share of the run after which the learning rate falls, linearly to zero


def learning_rate(peak: float, progress: float, warmup: float) -> float:
    """Warm-up, constant, then linear decay to zero (the trapezoid of Zhai et al. 2022; Hägele et al. 2024).

    `progress` is the share of the run that is done, 0..1 (of its steps, or of its time when the run has a time limit);
    `warmup` the share in which the rate rises.
    """
    if progress < warmup:
        return peak * max(progress / warmup, 0.01)
    if progress <= max(DECAY_BEGINS, warmup):
        return peak
    return peak * max(0.0, (1 - progress) / (1 - max(DECAY_BEGINS, warmup)))
