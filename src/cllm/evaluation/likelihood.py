"""Bits per byte: how many bits a model needs for each byte of text it has not seen.

Static evaluation: the weights never change, every document stands alone behind one end-of-text token, and nothing
is carried over from one document to the next. A document longer than the model's context is read through windows
that overlap by half (the sliding window of Baevski & Auli 2019), so every token is predicted exactly once, from at
least half a context wherever the document has that many tokens before it.

The sum is over the whole vocabulary's distribution, special tokens included: no mass is taken back from them. The
end of the document is not predicted, because its bytes are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cllm.heldout import Window, batches, windows
from cllm.model.transformer import Transformer

LOGIT_ELEMENTS = 1 << 24  # scores held at a time: 64 MiB of fp32


@dataclass(frozen=True)
class Tokens:
    """One document as token ids, without end-of-text, and the bytes they stand for."""

    ids: Sequence[int]
    bytes: int


@dataclass(frozen=True)
class Likelihood:
    """Summed negative log-likelihood in nats of documents (one of them, or several together)."""

    nats: float
    tokens: int
    bytes: int

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / self.bytes

    @property
    def nats_per_token(self) -> float:
        return self.nats / self.tokens

    def __add__(self, other: Likelihood) -> Likelihood:
        return Likelihood(self.nats + other.nats, self.tokens + other.tokens, self.bytes + other.bytes)


@torch.inference_mode()
def _scored_nats(
    model: Transformer, streams: Sequence[NDArray[np.int64]], group: Sequence[Window]
) -> NDArray[np.float64]:
    """Nats of each scored target of the windows, in reading order: log-softmax in fp32, then fp64."""
    length = group[0].length
    ids_BT = torch.from_numpy(np.stack([streams[w.document][w.first : w.first + length + 1] for w in group]))
    scored_BT = torch.arange(length) >= torch.tensor([[w.scored - w.first] for w in group])
    hidden_ND, targets_N = model.hidden(ids_BT[:, :-1])[scored_BT], ids_BT[:, 1:][scored_BT]
    rows = max(1, LOGIT_ELEMENTS // model.config.vocabulary)
    parts = [
        F.cross_entropy(model.logits(hidden), targets, reduction="none").double()
        for hidden, targets in zip(hidden_ND.split(rows), targets_N.split(rows), strict=True)
    ]
    return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)


def likelihoods(
    model: Transformer,
    documents: Sequence[Tokens],
    end_of_text: int,
    *,
    context: int | None = None,
    batch: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Likelihood]:
    """The likelihood of each document, in their order.

    `context` is in tokens (the model's own if None), `batch` in windows (about 4096 tokens if None). `workers` threads
    compute one batch each: with torch set to one thread this beats one batch on several threads, which wait for each
    other at every operation. None of these changes which tokens are counted. `progress` is told the tokens done and
    their total. A document without tokens costs nothing.
    """
    context = context or model.config.context
    streams = [np.concatenate(([end_of_text], np.asarray(d.ids, dtype=np.int64))) for d in documents]
    groups = list(batches([w for i, d in enumerate(documents) for w in windows(i, len(d.ids), context)], batch))
    nats = np.zeros(len(documents))
    total = sum(len(d.ids) for d in documents)
    done = 0
    pool = ThreadPoolExecutor(workers)
    try:
        for group, found in zip(groups, pool.map(partial(_scored_nats, model, streams), groups), strict=True):
            owner = np.repeat([w.document for w in group], [w.first + w.length - w.scored for w in group])
            nats += np.bincount(owner, weights=found, minlength=len(documents))
            done += len(found)
            if progress is not None:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for what has not begun
    return [Likelihood(float(n), len(d.ids), d.bytes) for n, d in zip(nats, documents, strict=True)]


def bits_per_byte(
    model: Transformer,
    documents: Sequence[Tokens],
    end_of_text: int,
    *,
    context: int | None = None,
    batch: int | None = None,
) -> Likelihood:
    """The likelihood of all documents together; `.bits_per_byte` is the figure. See `likelihoods`."""
    return sum(likelihoods(model, documents, end_of_text, context=context, batch=batch), Likelihood(0.0, 0, 0))
