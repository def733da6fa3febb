"""What the network says at every token of whole documents, in the windows that bits per byte are measured in.

Shapes: n tokens of all documents, A tokens that are asked for at each, B windows, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cllm.heldout import Window, batches, windows
from cllm.model.transformer import Transformer

_LOGIT_ELEMENTS = 1 << 23  # scores held at a time by a thread
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Observed:
    """Natural logarithms of the network's probabilities, and what its distributions are like.

    Attributes:
        target: (n,) of the token that stands there.
        asked: (n, A) of the tokens asked for; 0 where none was.
        entropy: (n,) nats.
        top: (n,) the likeliest token.
        top_log: (n,) of that one.
        own: (n,) probability, not its logarithm, of all tokens together that stand in the document so far.
    """

    target: Floats
    asked: Floats
    entropy: Floats
    top: NDArray[np.int64]
    top_log: Floats
    own: Floats


@torch.inference_mode()
def _observe(
    model: Transformer,
    streams: Sequence[NDArray[np.int64]],
    asked: NDArray[np.int64],
    offsets: NDArray[np.int64],
    firsts: Sequence[tuple[NDArray[np.int64], NDArray[np.int32]]],
    group: Sequence[Window],
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    length = group[0].length
    ids_BT = torch.from_numpy(np.stack([streams[w.document][w.first : w.first + length + 1] for w in group]))
    scored_BT = torch.arange(length) >= torch.tensor([[w.scored - w.first] for w in group])
    places = np.concatenate([offsets[w.document] + np.arange(w.scored, w.first + length) for w in group])
    hidden, targets = model.hidden(ids_BT[:, :-1])[scored_BT], ids_BT[:, 1:][scored_BT]
    rows = max(1, _LOGIT_ELEMENTS // model.config.vocabulary)
    wanted = torch.from_numpy(asked[places])
    place = torch.from_numpy(np.concatenate([np.arange(w.scored, w.first + length) for w in group]).astype(np.int32))
    owner = torch.tensor(np.repeat(np.arange(len(group)), [w.first + length - w.scored for w in group]))
    first_BV = torch.full((len(group), model.config.vocabulary), np.iinfo(np.int32).max, dtype=torch.int32)
    for row, w in enumerate(group):
        tokens, begins = firsts[w.document]
        first_BV[row, torch.from_numpy(tokens)] = torch.from_numpy(begins)
    parts = []
    for h, t, a, p, o in zip(*(part.split(rows) for part in (hidden, targets, wanted, place, owner)), strict=True):
        logs = model.logits(h).log_softmax(dim=-1)
        top_log, top = logs.max(dim=-1)
        probabilities = logs.exp()
        entropy = -(probabilities * logs).sum(dim=-1)
        own = probabilities.masked_fill_(first_BV[o] >= p[:, None], 0).sum(dim=-1)
        found = logs.gather(1, a.clamp(min=0)).masked_fill(a < 0, 0.0)
        parts.append((logs.gather(1, t[:, None])[:, 0], found, entropy, top, top_log, own))
    return places, [torch.cat(columns).numpy() for columns in zip(*parts, strict=True)]


def observe(
    model: Transformer,
    documents: Sequence[NDArray[np.integer[Any]]],
    asked: NDArray[np.int64],
    end_of_text: int,
    *,
    context: int | None = None,
    batch: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Observed:
    """Run the network over `documents`; `asked` (n, A) are tokens whose probability is wanted, -1 for none.

    The windows are those of `cllm.heldout.windows`; `workers` threads compute one batch each.
    """
    context = context or model.config.context
    sizes = [len(d) for d in documents]
    n = sum(sizes)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    streams = [np.concatenate(([end_of_text], np.asarray(d, dtype=np.int64))) for d in documents]
    groups = list(batches([w for i, size in enumerate(sizes) for w in windows(i, size, context)], batch))
    target, entropy, top_log, own = np.zeros((4, n), dtype=np.float32)
    found, top = np.zeros((n, asked.shape[1]), dtype=np.float32), np.zeros(n, dtype=np.int64)
    firsts = []
    for stream in streams:
        tokens, begins = np.unique(stream[1:], return_index=True)
        firsts.append((tokens, begins.astype(np.int32)))
    done = 0
    pool = ThreadPoolExecutor(workers)
    try:
        for places, parts in pool.map(partial(_observe, model, streams, asked, offsets, firsts), groups):
            target[places], found[places], entropy[places], top[places], top_log[places], own[places] = parts
            done += len(places)
            if progress is not None:
                progress(done, n)
    finally:
        pool.shutdown(cancel_futures=True)
    return Observed(target, found, entropy, top, top_log, own)
