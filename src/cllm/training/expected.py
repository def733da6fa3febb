"""What a training will come to: bits per byte of held-out files, foreseen from model, tokens and corpus. Without torch.

A scaling law in weights and tokens (Hoffmann et al. 2022), in which repeated tokens are worth less and less
(Muennighoff et al. 2023). The constants are fitted by `python -m benchmarks.fits`: docs/planner.md.
"""

from __future__ import annotations

import math

from cllm.model.config import ModelConfig

LEAST = 0.1214  # bits per byte that no training goes below
WEIGHTS, WEIGHTS_POWER = 0.03423, 0.8634  # what too few weights cost: of millions, in the layers
TEXT, TEXT_POWER = 1.152, 0.098  # what too little text costs: of million bytes
HEAD_START = 0.001438  # million bytes that the start from counts is worth
REPEATS = 8.755  # passes after the first that are worth as much as new text, if all were counted at once
RARE = 1.382  # million tokens after which half of what can be learnt of a vocabulary of 1000 is
LONG = 0.3167  # power of the vocabulary: the shorter its tokens, the less of a file a context holds
ENOUGH, ENOUGH_POWER = 4.1, 0.080  # million bytes of a corpus of which the law is true as it is; less costs more
MOST = 6.5  # million bytes: larger corpora were not measured, and are taken to be no better than that
FITTED_CONTEXT = 256  # of all trials of the fit; a longer one counts as longer tokens do (docs/planner.md)


def bytes_per_token(vocabulary: int) -> float:
    """Of source code, about: C has fewer, Python more."""
    return 2.505 + 0.4375 * math.log2(vocabulary / 1024)


def worth(text: float, corpus: float) -> float:
    """Of how many new bytes `text` bytes out of a corpus of `corpus` are worth, each pass less than the one before.

    Equation 5 of Muennighoff et al. 2023, "Scaling data-constrained language models".
    """
    passes = text / max(1.0, corpus)
    if passes <= 1:
        return text
    return corpus * (1 + REPEATS * (1 - math.exp(-(passes - 1) / REPEATS)))


def of_little_text(corpus: float) -> float:
    """How many times the bits of the law files cost that were held out of a corpus of so many bytes.

    The files of a small corpus say less of each other than those of a large one, however often they are read.
    """
    return float((min(max(corpus, 1.0) / 1e6, MOST) / ENOUGH) ** -ENOUGH_POWER)


def expected_bits(model: ModelConfig, tokens: float, corpus: float) -> float:
    """Bits per byte of held-out files of the network alone, after a training on `tokens` of a corpus of so many bytes.

    For code like that of the fits, and a learning rate that has decayed at the end.
    """
    return of_little_text(corpus) * law(model, tokens, corpus)


def law(model: ModelConfig, tokens: float, corpus: float) -> float:
    """The same where the corpus is large; what is best for it does not depend on that."""
    thousands = model.vocabulary / 1000
    long = thousands * model.context / FITTED_CONTEXT
    learnt = tokens / (tokens + 1e6 * RARE * thousands) * long**LONG
    seen = worth(tokens * bytes_per_token(model.vocabulary), corpus) / 1e6 * learnt
    return float(
        LEAST + WEIGHTS * (model.in_layers / 1e6) ** -WEIGHTS_POWER + TEXT * (seen + HEAD_START) ** -TEXT_POWER
    )
