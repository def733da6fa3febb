"""Text in, text out: completing prompts with a loaded model, and with its memory where it has one.

A prompt is preceded by end_of_text, as every document was in training; its end is healed (`cllm.inference.healing`).
Generation ends at end_of_text, at a stop string, or after `max_tokens`. V is the vocabulary.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from cllm.errors import InvalidInput, InvalidSettings
from cllm.inference import sampling
from cllm.inference.drafts import Ahead, Drafter, TrainingFiles
from cllm.inference.engine import Engine, prompt_window
from cllm.inference.healing import TokenIndex
from cllm.inference.repetition import Repetitions
from cllm.inference.text import TextStream
from cllm.memory import provenance
from cllm.memory.mixture import Memory, Reader
from cllm.model.transformer import Transformer
from cllm.settings import SamplingSettings
from cllm.tokenizer import Tokenizer

FinishReason = Literal["stop", "length", "end", "cancelled"]
_NO_SETTINGS = SamplingSettings()

# Scores that were computed together differ from those computed one by one by some 1e-5 (docs/drafts.md). Where the two
# likeliest tokens are not further apart than this, a greedy choice is made from scores computed one by one.
_TOO_CLOSE = 3e-4


class Loaded(Protocol):
    """What completing needs of a `cllm.checkpoint.LoadedModel`."""

    @property
    def model(self) -> Transformer: ...
    @property
    def tokenizer(self) -> Tokenizer: ...


@dataclass(frozen=True)
class Completion:
    """What came of a prompt. `text` is what follows the prompt, never the prompt itself."""

    prompt: str
    text: str
    tokens: int  # that made `text`; those that only made the removed end of the prompt again are not counted
    finish_reason: FinishReason
    seed: int  # that was used, also when none was set
    prefill_s: float
    decode_s: float  # time in the model and in choosing, without the time of whoever reads the stream
    decoded: int  # tokens that were read again for the one after them
    passes: int  # through the model, in which they were: fewer than `decoded` where drafts were right
    ids: tuple[int, ...]  # the `tokens`
    torn: int  # bytes of the first of them that are the end of the prompt

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed, the prompt not counted; 0 if nothing was decoded."""
        return self.decoded / self.decode_s if self.decoded else 0.0


class _Sequence:
    """One prompt on its way to a completion: chooses its tokens, and makes text of them."""

    def __init__(self, completer: Completer, prompt: str, settings: SamplingSettings, heal: bool) -> None:
        self._completer, self._settings, self._prompt = completer, settings, prompt
        self._seed = secrets.randbits(31) if settings.seed is None else settings.seed
        self._random = random.Random(self._seed)  # noqa: S311 - a reproducible draw is the point
        self._stream = TextStream(settings.stop)
        self._text: list[str] = []
        self._ids: list[int] = []
        self._torn = 0
        self.finish_reason: FinishReason | None = None
        self.prefill_s, self.decode_s, self.decoded, self.passes = 0.0, 0.0, 0, 0

        tokenizer, ids = completer.tokenizer, completer.encode(prompt)
        count = completer.index.back_up([tokenizer.token_bytes(token) for token in ids]) if heal else 0
        self._remaining = tokenizer.decode_bytes(ids[len(ids) - count :])  # of the prompt, still to be made again
        ids = ids[: len(ids) - count]
        self._seen: Tensor | None = None
        if settings.repetition_penalty != 1:
            self._seen = torch.zeros(len(completer.forbidden_V), dtype=torch.bool)
            self._seen[ids] = True
        self._repetitions = Repetitions(settings.dry_multiplier) if settings.dry_multiplier else None
        self._reader: Reader | None = None
        if completer.reader is not None and settings.memory == "on":
            self._reader = completer.reader.copy()
            self._reader.feed(ids)
        self._prompt_ids = ids
        self.window = prompt_window([tokenizer.end_of_text, *ids], completer.context, settings.max_tokens)

    @property
    def takes_the_likeliest(self) -> bool:
        """Whether the next token is simply the likeliest of those not forbidden."""
        changed = self._seen is not None or self._reader is not None or self._repetitions is not None
        return self._settings.temperature == 0 and not self._remaining and not changed

    @property
    def most_left(self) -> int:
        """Tokens that may still come; more of them may be needed where some only make the prompt's end again."""
        return self._settings.max_tokens - len(self._ids)

    def drafter(self) -> Drafter | None:
        """Proposes tokens, if the settings want it."""
        if self._settings.drafts == "off":
            return None
        return Drafter(self._prompt_ids, None if self._reader is None else TrainingFiles(self._reader))

    def scores(self, logits_V: Tensor) -> Tensor:
        """What the next token is chosen from; `logits_V` is of the tokens after what was accepted so far."""
        if self._reader is not None:
            # The penalty is made for scores as high as a network's: where memory has no weight they are the network's.
            level = 0.0 if self._seen is None else float(logits_V.logsumexp(dim=0))
            logits_V = torch.from_numpy(self._reader.distribution(logits_V.numpy())).log_().add_(level)
            logits_V.index_fill_(0, self._completer.forbidden, -torch.inf)
        else:
            logits_V = logits_V.masked_fill(self._completer.forbidden_V, -torch.inf)
        if self._remaining:
            agreeing = torch.tensor(self._completer.index.agreeing_with(self._remaining))
            logits_V = torch.full_like(logits_V, -torch.inf).index_copy_(0, agreeing, logits_V[agreeing])
        if self._seen is not None:
            logits_V = sampling.penalise(logits_V, self._seen, self._settings.repetition_penalty)
        return logits_V if self._repetitions is None else self._repetitions.penalise(logits_V)

    def is_close(self, scores_V: Tensor) -> bool:
        """Whether the choice is greedy, and rounding of the scores could decide it."""
        if self._settings.temperature > 0:
            return False
        first, second = scores_V.topk(2).values.tolist()
        return bool(first - second <= _TOO_CLOSE)

    def choose(self, scores_V: Tensor) -> int:
        """The next token, by the settings."""
        return sampling.choose(scores_V, self._settings, self._random.random())

    def accept(self, token: int) -> str:
        """Add a token; returns the text that is now certain, and sets `finish_reason` if it was the last."""
        tokenizer = self._completer.tokenizer
        if token == tokenizer.end_of_text:
            return self.finish("end")
        if self._seen is not None:
            self._seen[token] = True
        if self._reader is not None:
            self._reader.feed([token])
        data = tokenizer.token_bytes(token)
        new, self._remaining = data[len(self._remaining) :], self._remaining[len(data) :]
        if not new:
            return ""
        if not self._ids:
            self._torn = len(data) - len(new)
        self._ids.append(token)
        if self._repetitions is not None:
            self._repetitions.add(token)
        piece = self._stream.feed(new)
        self._text.append(piece)
        if self._stream.stopped:
            self.finish_reason = "stop"
        elif len(self._ids) == self._settings.max_tokens:
            return piece + self.finish("length")
        return piece

    def finish(self, reason: FinishReason) -> str:
        """End here; returns the text that was held back."""
        piece = self._stream.finish()
        self._text.append(piece)
        self.finish_reason = "stop" if self._stream.stopped else reason
        return piece

    def completion(self) -> Completion:
        return Completion(
            prompt=self._prompt,
            text="".join(self._text),
            tokens=len(self._ids),
            finish_reason=self.finish_reason or "cancelled",
            seed=self._seed,
            prefill_s=self.prefill_s,
            decode_s=self.decode_s,
            decoded=self.decoded,
            passes=self.passes,
            ids=tuple(self._ids),
            torn=self._torn,
        )


class Generation:
    """A completion in the making: iterate over its pieces of text, once; `completion` is what there is so far."""

    def __init__(self, sequence: _Sequence, engine: Engine) -> None:
        self._sequence, self._ahead = sequence, Ahead(engine, sequence.drafter())
        self._cancelled = False

    def cancel(self) -> None:
        """End before the next token. Safe to call from a signal handler or another thread."""
        self._cancelled = True

    @property
    def completion(self) -> Completion:
        """The result; before the end its `finish_reason` is "cancelled"."""
        return self._sequence.completion()

    def __iter__(self) -> Iterator[str]:
        sequence = self._sequence
        begin = time.perf_counter()
        logits_V = self._ahead.prefill(sequence.window)
        sequence.prefill_s = time.perf_counter() - begin
        while not self._cancelled:
            begin = time.perf_counter()
            scores_V = sequence.scores(logits_V)
            if not self._ahead.settled and sequence.is_close(scores_V):
                scores_V = sequence.scores(self._ahead.settle())
            token = sequence.choose(scores_V)
            piece = sequence.accept(token)
            if sequence.finish_reason is None:
                logits_V = self._ahead.after(token, sequence.most_left - 1)
                sequence.decoded += 1
                sequence.passes = self._ahead.passes
                sequence.decode_s += time.perf_counter() - begin
            if piece:
                yield piece
            if sequence.finish_reason is not None:
                return
        if piece := sequence.finish("cancelled"):
            yield piece


class Completer:
    """Completes prompts with one model. It holds no state of its own between completions."""

    def __init__(self, loaded: Loaded, memory: Memory | None = None) -> None:
        """`memory` is mixed with the network, and drafts, unless `SamplingSettings.memory` is off."""
        self.memory = memory
        self.reader = None if memory is None else Reader(memory)  # every sequence goes on with a copy
        self.tokenizer = loaded.tokenizer
        self.context = loaded.model.config.context
        self._model = loaded.model
        vocabulary = loaded.model.config.vocabulary
        self.index = TokenIndex([self.tokenizer.token_bytes(token) for token in range(self.tokenizer.vocabulary)])
        self.forbidden_V = torch.ones(vocabulary, dtype=torch.bool)  # specials, and padding of the vocabulary
        self.forbidden_V[: self.tokenizer.vocabulary] = False
        self.forbidden_V[list(self.tokenizer.specials - {self.tokenizer.end_of_text})] = True
        self.forbidden = self.forbidden_V.nonzero()[:, 0]  # their ids

    def encode(self, prompt: str) -> list[int]:
        """Ids of a prompt. Raises `InvalidInput` if it is not text that UTF-8 can hold."""
        try:
            prompt.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput("the prompt is not valid UTF-8: convert it first, for example with iconv") from error
        return self.tokenizer.encode(prompt)

    def stream(self, prompt: str, settings: SamplingSettings = _NO_SETTINGS, *, heal: bool = True) -> Generation:
        """Complete `prompt`, piece by piece. `heal=False` takes the prompt's last token as it is.

        Raises `InvalidInput` and `InvalidSettings` at once, before anything is computed.
        """
        return Generation(self._sequence(prompt, settings, heal), Engine(self._model))

    def provenance(self, completion: Completion) -> list[dict[str, Any]]:
        """Where the parts of a completion stand in the training files (`cllm.memory.provenance.as_json`).

        Raises `InvalidInput` if the model has no memory.
        """
        if self.memory is None:
            raise InvalidInput("this model has no memory to compare its text with: train one anew")
        return provenance.parts(self.memory, self.tokenizer, completion.ids, completion.text, completion.torn)

    def complete(self, prompt: str, settings: SamplingSettings = _NO_SETTINGS, *, heal: bool = True) -> Completion:
        """Complete `prompt`; raises as `stream` does."""
        generation = self.stream(prompt, settings, heal=heal)
        for _ in generation:
            pass
        return generation.completion

    def complete_many(
        self, prompts: Sequence[str], settings: SamplingSettings = _NO_SETTINGS, *, heal: bool = True, batch: int = 16
    ) -> list[Completion]:
        """Complete each of `prompts`, `batch` of them at a time through the model; raises as `stream` does.

        The results are those of `complete`, but for rounding: where two tokens are equally likely to the last digits
        of fp32, another may be chosen. The times of a completion are those of its batch while it was in it.
        """
        sequences = [self._sequence(prompt, settings, heal) for prompt in prompts]
        by_length = sorted(sequences, key=lambda sequence: len(sequence.window))
        for first in range(0, len(by_length), batch):
            self._run(by_length[first : first + batch])
        return [sequence.completion() for sequence in sequences]

    def _run(self, active: list[_Sequence]) -> None:
        """Take these sequences to their ends together."""
        engine = Engine(self._model)
        begin = time.perf_counter()
        logits_BV = engine.prefill([sequence.window for sequence in active])
        for sequence in active:
            sequence.prefill_s = time.perf_counter() - begin
        while True:
            begin = time.perf_counter()
            likeliest = logits_BV.masked_fill(self.forbidden_V, -torch.inf).argmax(dim=-1).tolist()
            tokens = [
                likeliest[row] if sequence.takes_the_likeliest else sequence.choose(sequence.scores(logits_BV[row]))
                for row, sequence in enumerate(active)
            ]
            for sequence, token in zip(active, tokens, strict=True):
                sequence.accept(token)
            rows = [row for row, sequence in enumerate(active) if sequence.finish_reason is None]
            if not rows:
                return
            if len(rows) < len(active):
                engine.keep(rows)
                active, tokens = [active[row] for row in rows], [tokens[row] for row in rows]
            logits_BV = engine.decode_one(tokens)
            for sequence in active:
                sequence.decoded += 1
                sequence.passes += 1
                sequence.decode_s += time.perf_counter() - begin

    def _sequence(self, prompt: str, settings: SamplingSettings, heal: bool) -> _Sequence:
        if "" in settings.stop:
            raise InvalidSettings("stop = '': a stop string must have at least one character; leave the option out")
        return _Sequence(self, prompt, settings, heal)
