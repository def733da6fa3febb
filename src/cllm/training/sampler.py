"""What the model in training makes of one prompt, again and again: a person sees it learn. Rank 0 only."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cllm.inference.completer import Completer
from cllm.model.transformer import Transformer
from cllm.settings import SamplingSettings
from cllm.tokenizer import Tokenizer

MOST_TOKENS = 48
MOST_S = 0.5
# Greedy, so that two samples differ by what was learned between them alone; the seed is never drawn from.
SETTINGS = SamplingSettings(temperature=0, max_tokens=MOST_TOKENS, seed=0)


@dataclass(frozen=True)
class _Loaded:
    """What a `Completer` asks for."""

    model: Transformer
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Sample:
    """A completion: `text` is what follows the prompt, `tokens` how many made it."""

    prompt: str
    text: str
    tokens: int


class Sampler:
    """Completes one prompt with a model that goes on to be trained; changes nothing of it, and draws no random number.

    The model must be the plain module, not a compiled one: its sequences grow by one token at a time.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, prompt: str) -> None:
        self.prompt = prompt
        self._completer = Completer(_Loaded(model, tokenizer))

    def sample(self, most_s: float = MOST_S) -> Sample:
        """Complete the prompt with the weights as they are; after `most_s` seconds no further token is begun."""
        begun = time.monotonic()
        generation = self._completer.stream(self.prompt, SETTINGS)
        for _ in generation:
            if time.monotonic() - begun > most_s:
                generation.cancel()
        made = generation.completion
        return Sample(made.prompt, made.text, made.tokens)
