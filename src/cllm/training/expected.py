"""What a training will come to: bits per byte of held-out files, foreseen from model, tokens and corpus. Without torch.

A scaling law in weights and tokens (Hoffmann et al. 2022), in which repeated tokens are worth less and less
(Muennighoff et al. 2023). The constants are fitted by `python -m benchmarks.fits`: docs/planner.md.
"""

from __future__ import annotations

import math

from cllm.model.config import ModelConfig

LEAST = 0.204  # bits per byte that no training goes below
WEIGHTS, WEIGHTS_POWER = 0.0984, 1.106  # what too few weights cost: of millions that every token is multiplied with
TOKENS, TOKENS_POWER = 1.074, 0.2133  # what too few tokens cost: of millions
HEAD_START = 0.0224  # million tokens that the start from counts is worth
REPEATS = 2.08  # passes after the first that are worth as much as new tokens, if all were counted at once


def worth(tokens: float, corpus_tokens: float) -> float:
    """Of how many new tokens `tokens` from a corpus of `corpus_tokens` are worth, each pass less than the one before.

    Equation 5 of Muennighoff et al. 2023, "Scaling data-constrained language models".
    """
    passes = tokens / max(1.0, corpus_tokens)
    if passes <= 1:
        return tokens
    return corpus_tokens * (1 + REPEATS * (1 - math.exp(-(passes - 1) / REPEATS)))


def expected_bits(model: ModelConfig, tokens: float, corpus_tokens: float) -> float:
    """Bits per byte of held-out files of the network alone, after a training on `tokens` of so large a corpus.

    For code like that of the fits, and a learning rate that has decayed at the end.
    """
    weights = WEIGHTS * (model.multiplied / 1e6) ** -WEIGHTS_POWER
    seen = worth(tokens, corpus_tokens) / 1e6 + HEAD_START
    return float(LEAST + weights + TOKENS * seen**-TOKENS_POWER)
