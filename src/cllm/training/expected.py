"""What a training will come to: bits per byte of held-out files, foreseen from model, tokens and corpus. Without torch.

A scaling law in weights and tokens (Hoffmann et al. 2022), in which repeated tokens are worth less and less
(Muennighoff et al. 2023). The constants are fitted by `python -m benchmarks.fits`: docs/planner.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cllm.model.config import ModelConfig

TYPICAL = 1.32  # bits per byte: what PPMd makes of held-out files of a corpus of which the law is true as it is
WIDTH = 128  # features of most models of the fits
CONTEXT = 256  # tokens of the window whose law this is; a longer one counts as longer tokens do


def bytes_per_token(vocabulary: int) -> float:
    """Of source code, about: C has fewer, Python more."""
    return 2.505 + 0.4375 * math.log2(vocabulary / 1024)


@dataclass(frozen=True)
class Law:
    """Bits per byte by what goes into a training; what is fitted are its constants, all above 0."""

    least: float = 0.1804  # bits per byte that no training goes below
    weights: float = 0.04613  # what too few weights cost: of millions, in the layers
    weights_power: float = 0.7532
    wide: float = 0.617  # power of the width from 128 on: so much more a weight in a wide layer is worth
    text: float = 1.103  # what too little text costs: of million bytes
    text_power: float = 0.1066
    head_start: float = 0.00171  # million bytes that the start from counts is worth
    repeats: float = 1.814  # passes after the first that are worth as much as new text, if all were counted at once
    rare: float = 1.382  # million tokens after which half of what can be learnt of a vocabulary of 1000 is
    deep: float = 0.1906  # and million tokens for each layer: depth is learnt later than width
    long: float = 0.3167  # power of the vocabulary: the shorter its tokens, the less of a file a context holds
    like: float = 0.69  # power of what PPMd makes of the held-out files: how much of them is like the training files

    def worth(self, text: float, corpus: float) -> float:
        """Of how many new bytes `text` bytes out of `corpus` bytes are worth, each pass less than the one before.

        Equation 5 of Muennighoff et al. 2023, "Scaling data-constrained language models".
        """
        passes = text / max(1.0, corpus)
        if passes <= 1:
            return text
        return corpus * (1 + self.repeats * (1 - math.exp(-(passes - 1) / self.repeats)))

    def bits(self, model: ModelConfig, tokens: float, corpus: float, ppmd: float = TYPICAL) -> float:
        """Bits per byte of held-out files after `tokens` of a corpus of so many bytes.

        `ppmd` are those that PPMd needs for such files (`cllm.corpus.likeness`).
        """
        thousands = model.vocabulary / 1000
        learnt = tokens / (tokens + 1e6 * (self.rare * thousands + self.deep * model.layers))
        shown = (thousands * model.context / CONTEXT) ** self.long
        seen = self.worth(tokens * bytes_per_token(model.vocabulary), corpus) / 1e6 * learnt * shown
        weights = model.in_layers / 1e6 * max(1.0, model.width / WIDTH) ** self.wide
        too_few = self.weights * weights**-self.weights_power
        too_little = self.text * (seen + self.head_start) ** -self.text_power
        return float((self.least + too_few + too_little) * (ppmd / TYPICAL) ** self.like)


FITTED = Law()


def expected_bits(model: ModelConfig, tokens: float, corpus: float, ppmd: float = TYPICAL) -> float:
    """Bits per byte of held-out files of the network alone, after a training on `tokens` of a corpus of so many bytes.

    `ppmd` are those that PPMd needs for such files (`cllm.corpus.likeness`). The learning rate has decayed at the end.
    """
    return FITTED.bits(model, tokens, corpus, ppmd)
