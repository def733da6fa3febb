"""Prefill and decode with a key-value cache, for one sequence or several at once. Knows nothing of tokenization.

Shapes: B sequences, T tokens, V vocabulary, S tokens in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cllm.model.transformer import KVCache, Transformer

_CHUNK = 512  # tokens of a prompt that go through the model at once: bounds the memory of the attention scores


class Engine:
    """Next-token scores of sequences that grow by one token at a time; one that is alone may grow by several, and back.

    The model never sees more than its trained context. A sequence that has filled it goes on in a sliding window: the
    last half of the context is prefilled anew, and fills up again. Sequences of different lengths are aligned at their
    ends; the padding before the shorter ones is masked and, rotary positions being relative, changes only the rounding.
    """

    def __init__(self, model: Transformer) -> None:
        self.context = model.config.context
        self._model = model
        self._windows: list[list[int]] = []  # what the model sees of each sequence
        self._cache: KVCache
        self._documents: Tensor | None = None  # (B, context), 0 at padding and 1 elsewhere; None when there is none
        self._settled = 0  # tokens in the cache as prefilling and decoding one by one make them, to the last bit

    @torch.inference_mode()
    def prefill(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """Begin with these ids, 1 to `context` of each sequence; returns fp32 scores (B, V) of the next tokens."""
        assert all(1 <= len(ids) <= self.context for ids in sequences)
        self._windows = [list(ids) for ids in sequences]
        return self._fill()

    @torch.inference_mode()
    def decode_one(self, tokens: Sequence[int]) -> Tensor:
        """Append one token to each sequence; returns fp32 scores (B, V) of the tokens after them."""
        for window, token in zip(self._windows, tokens, strict=True):
            window.append(token)
        length = self._cache.length
        if length == self.context:
            for window in self._windows:
                if len(window) > self.context:
                    del window[: -max(1, self.context // 2)]
            return self._fill()
        hidden = self._model.hidden(torch.tensor(tokens)[:, None], self._documents_of(length + 1), self._cache)
        if self._settled == length:
            self._settled += 1
        return self._model.logits(hidden[:, -1])

    @property
    def room(self) -> int:
        """Tokens that the cache still holds before the window slides."""
        return self.context - self._cache.length

    @property
    def settled(self) -> bool:
        """Whether the cache, and the last scores with it, are to the last bit those of decoding one by one."""
        return self._settled == self._cache.length

    @torch.inference_mode()
    def extend(self, tokens: Sequence[int]) -> Tensor:
        """Append 1 to `max(1, room)` tokens to the only sequence; returns fp32 scores (T, V) after each of them.

        The scores are those of `decode_one` but for rounding: products of several rows are summed in another order.
        """
        if len(tokens) == 1:
            return self.decode_one(tokens)
        assert len(self._windows) == 1 and len(tokens) <= self.room
        self._windows[0].extend(tokens)
        hidden = self._model.hidden(torch.tensor([tokens]), None, self._cache)
        return self._model.logits(hidden[0])

    def rewind(self, count: int) -> None:
        """Take back the last `count` tokens of the last `extend`."""
        if count:
            del self._windows[0][-count:]
            self._cache.length -= count

    @torch.inference_mode()
    def settle(self) -> Tensor:
        """Decode again, one by one, what `extend` appended; returns scores (V,) without its rounding."""
        assert not self.settled
        window = self._windows[0]
        again, self._cache.length = window[self._settled :], self._settled
        del window[self._settled :]
        for token in again:
            scores_BV = self.decode_one([token])
        return scores_BV[0]

    @torch.inference_mode()
    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these sequences only; they are numbered anew in this order."""
        self._windows = [self._windows[row] for row in rows]
        index = torch.tensor(rows)
        self._cache.keys, self._cache.values = self._cache.keys[:, index], self._cache.values[:, index]
        self._documents = None if self._documents is None else self._documents[index]

    def _documents_of(self, length: int) -> Tensor | None:
        return None if self._documents is None else self._documents[:, :length]

    def _fill(self) -> Tensor:
        """Prefill the windows; returns scores (B, V) after their last tokens."""
        longest = max(len(window) for window in self._windows)
        padding = [longest - len(window) for window in self._windows]
        ids = torch.tensor([[0] * pad + window for pad, window in zip(padding, self._windows, strict=True)])
        self._cache = KVCache.empty(self._model.config, len(padding), self.context, self._model.dtype)
        self._settled = longest
        self._documents = None
        if any(padding):  # is a document of its own: it sees itself, so that no row of the softmax is empty
            self._documents = (torch.arange(self.context) >= torch.tensor(padding)[:, None]).to(torch.int32)
        for start in range(0, longest, _CHUNK):
            stop = min(start + _CHUNK, longest)
            hidden = self._model.hidden(ids[:, start:stop], self._documents_of(stop), self._cache)
        return self._model.logits(hidden[:, -1])


def prompt_window(ids: Sequence[int], context: int, max_tokens: int) -> list[int]:
    """The end of a prompt that the model is shown: all of it, if it leaves room for a token.

    A longer one keeps its last tokens, cut so that there is room to generate, at most half of the context.
    """
    if len(ids) < context:
        return list(ids)
    return list(ids[-max(1, context - min(max_tokens, context // 2)) :])
