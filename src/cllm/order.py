"""Which window of tokens comes when: a pure function of (seed, epoch, sphere).

There is no iterator whose state could be lost: window g of a sphere is computed from g alone, so a training that was
stopped continues with exactly the data that was next, whatever number of ranks it has now.

In every epoch each sphere's pieces of documents are shuffled, joined to one ring ("end_of_text document end_of_text
document ..."), turned by a random offset, cut into windows, and the windows are shuffled. Only the shuffled order of
the pieces is kept; tokens are fetched from the token file when a batch is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cllm.errors import EmptyCorpus
from cllm.spheres import Piece

NO_TARGET = -1


@dataclass(frozen=True)
class Batch:
    """Windows to train or to evaluate on; B windows of T tokens.

    Attributes:
        inputs: (B, T) token ids.
        targets: (B, T) the id that follows each input in its document, or `NO_TARGET`.
        starts: (B, T) True where something begins that must not see what stands before it.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts: NDArray[np.bool_]


@dataclass(frozen=True)
class _Pieces:
    """The pieces of one sphere as columns, (P,) each, in some order."""

    source: NDArray[np.int64]  # index in the token file of what stands at the piece's first place in the ring
    length: NDArray[np.int64]  # places in the ring: the tokens, and the end_of_text before a document's beginning
    opens: NDArray[np.bool_]  # begins its document, so there is an end_of_text before it
    ends: NDArray[np.bool_]  # reaches the end of its document

    def reordered(self, order: NDArray[np.int64]) -> _Pieces:
        return _Pieces(self.source[order], self.length[order], self.opens[order], self.ends[order])


@dataclass(frozen=True)
class _Epoch:
    """The plan of one epoch of one sphere."""

    pieces: _Pieces
    begins: NDArray[np.int64]  # (P,) place in the ring where each piece begins
    size: int  # places in the ring
    offset: int  # place at which the first window begins
    windows: NDArray[np.int64]  # (n,) the shuffled order of the windows


class WindowOrder:
    """The windows of every sphere and every epoch.

    A window's inputs are `context` neighbouring places of the ring, and windows do not overlap, so each token is an
    input once in an epoch, but for the remainder of the ring that fills no window. The last token of a document has
    end_of_text as its target, so that the model learns to stop. A piece that begins inside its document is marked in
    `starts` and is no target of what stands before it; a piece that is cut before its document's end has no target at
    its last token. A ring shorter than a window is filled up with end_of_text without targets.
    """

    def __init__(
        self,
        tokens: NDArray[np.uint16],
        offsets: NDArray[np.int64],
        spheres: list[list[Piece]],
        context: int,
        end_of_text: int,
        seed: int,
    ):
        """Make the order of `spheres`, the pieces that `cllm.spheres.deal` dealt.

        Args:
            tokens: (N,) ids of all training documents, one after the other; may be a memory map.
            offsets: (D + 1,) where each document begins in `tokens`, and N.
            spheres: the pieces of each sphere.
            context: T, tokens in a window.
            end_of_text: id that goes before each document.
            seed: seed of every shuffle.

        Raises:
            EmptyCorpus: some sphere has no tokens.
        """
        if any(sum(len(piece) for piece in pieces) < 2 for pieces in spheres):
            raise EmptyCorpus(
                f"the training data are too small: {len(tokens)} tokens cannot be dealt to {len(spheres)} spheres;"
                " add files, or use fewer with --spheres"
            )
        self._tokens = np.asarray(tokens)
        self._context = context
        self._end_of_text = end_of_text
        self._seed = seed
        self._spheres = [_columns(pieces, offsets) for pieces in spheres]
        self._epochs: list[dict[int, _Epoch]] = [{} for _ in spheres]
        smallest = min(int(pieces.length.sum()) for pieces in self._spheres)
        self.windows_per_epoch = max(1, smallest // context)

    def batch(self, sphere: int, first: int, count: int) -> Batch:
        """Windows `first` to `first + count` of a sphere's endless sequence.

        Window g is window g % n of epoch g // n, where n is `windows_per_epoch`.
        """
        numbers = np.arange(first, first + count)
        epochs = numbers // self.windows_per_epoch
        batches = [
            self._gather(self._epoch(sphere, int(epoch)), numbers[epochs == epoch] % self.windows_per_epoch)
            for epoch in range(epochs[0], epochs[-1] + 1)
        ]
        if len(batches) == 1:
            return batches[0]
        return Batch(
            np.concatenate([batch.inputs for batch in batches]),
            np.concatenate([batch.targets for batch in batches]),
            np.concatenate([batch.starts for batch in batches]),
        )

    def _epoch(self, sphere: int, epoch: int) -> _Epoch:
        plans = self._epochs[sphere]
        if epoch not in plans:
            if len(plans) >= 2:  # a batch can lie across the end of an epoch, never further
                del plans[min(plans)]
            plans[epoch] = self._plan(sphere, epoch)
        return plans[epoch]

    def _plan(self, sphere: int, epoch: int) -> _Epoch:
        # Only the bits of Philox are used: NumPy promises them for ever, but not what its Generator makes of them.
        key = np.array([self._seed, epoch << 32 | sphere], dtype=np.uint64)
        random = np.random.Philox(key=key).random_raw
        pieces = self._spheres[sphere]
        pieces = pieces.reordered(np.argsort(random(len(pieces.length)), kind="stable"))
        begins = np.concatenate([[0], np.cumsum(pieces.length)])
        size = int(begins[-1])
        offset = int(random(1)[0] % size)
        windows = np.argsort(random(self.windows_per_epoch), kind="stable")
        return _Epoch(pieces, begins[:-1], size, offset, windows)

    def _gather(self, plan: _Epoch, numbers: NDArray[np.int64]) -> Batch:
        """The windows at places `numbers` (B,) of an epoch."""
        step = np.arange(self._context)
        place = (plan.offset + plan.windows[numbers][:, None] * self._context + step) % plan.size  # (B, T)
        piece = np.searchsorted(plan.begins, place, side="right") - 1
        within = place - plan.begins[piece]
        source = plan.pieces.source[piece] + within
        starts = within == 0
        last = within == plan.pieces.length[piece] - 1
        inputs = self._tokens.take(source, mode="clip").astype(np.int64)
        inputs[starts & plan.pieces.opens[piece]] = self._end_of_text
        targets = self._tokens.take(source + 1, mode="clip").astype(np.int64)
        targets[last] = np.where(plan.pieces.ends[piece[last]], self._end_of_text, NO_TARGET)
        starts[:, 0] = True
        if plan.size < self._context:
            inputs[:, plan.size :] = self._end_of_text
            targets[:, plan.size :] = NO_TARGET
            starts[:, plan.size :] = False
            starts[:, plan.size] = True
        return Batch(inputs, targets, starts)


def _columns(pieces: list[Piece], offsets: NDArray[np.int64]) -> _Pieces:
    document = np.array([piece.document for piece in pieces], dtype=np.int64)
    start = np.array([piece.start for piece in pieces], dtype=np.int64)
    stop = np.array([piece.stop for piece in pieces], dtype=np.int64)
    opens = start == 0
    return _Pieces(
        source=offsets[document] + start - opens,
        length=stop - start + opens,
        opens=opens,
        ends=stop == offsets[document + 1] - offsets[document],
    )
