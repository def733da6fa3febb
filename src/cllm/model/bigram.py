"""Initial weights that know which token follows which.

Blocks whose projections to the residual stream are zero change nothing, so an untrained model with such blocks computes
head(norm(embedding[token])): a function of the last token alone. Instead of at random, its two matrices can begin as a
factorisation of the logarithms of the corpus' bigram counts. Then the first steps are not spent on learning, one
gradient after the other, what counting finds at once.

The logarithms are of counts smoothed towards the unigram distribution (Dirichlet prior, MacKay & Peto 1995), relative
to it: shifted positive pointwise mutual information (Levy & Goldberg 2014), which is zero wherever no pair was seen, so
the matrix is sparse. It is factorised by randomised subspace iteration (Halko et al. 2011).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cllm.model.transformer import Transformer

PRIOR_PAIRS = 50.0  # weight of the unigram distribution in each row, as a number of pairs
MOST_PAIRS = 1 << 24  # that are counted; of more, every n-th
OVERSAMPLING, ITERATIONS = 14, 2  # of the subspace iteration
FITTING = 0.98  # share of tokens whose factors keep their length under the model's first norm
EMBEDDING_RMS = 0.1  # of the embedding's rows; small ones are learnt faster (docs/recipe.md)


def _factors(matrix: Tensor, rank: int, seed: int) -> tuple[Tensor, Tensor]:
    """(V, R) and (V, R) whose product is about the sparse (V, V) `matrix`, most of it in their first columns."""
    generator = torch.Generator().manual_seed(seed)
    transposed = matrix.t().coalesce()
    start = torch.randn(matrix.shape[1], min(rank + OVERSAMPLING, matrix.shape[0]), generator=generator)
    basis = torch.linalg.qr(torch.sparse.mm(matrix, start)).Q
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(torch.sparse.mm(transposed, basis)).Q
        basis = torch.linalg.qr(torch.sparse.mm(matrix, basis)).Q
    left, singular, right = torch.linalg.svd(torch.sparse.mm(transposed, basis).T, full_matrices=False)
    root = singular[:rank].sqrt()
    return (basis @ left)[:, :rank] * root, right[:rank].T * root


@torch.no_grad()
def start_from_bigrams(model: Transformer, stream: NDArray[np.uint16], seed: int) -> None:
    """Set embedding and head of an untied, just initialised `model` from the pairs of neighbours in `stream` (N,).

    The model must not be tied: one matrix cannot say both what a token follows and what follows it.
    """
    assert model.lm_head is not None
    V, D = model.config.vocabulary, model.config.width
    step = max(1, math.ceil(stream.size / MOST_PAIRS))
    before, after = stream[:-1:step].astype(np.int64), stream[1::step].astype(np.int64)
    pairs, counts = np.unique(before * V + after, return_counts=True)
    row, column = pairs // V, pairs % V
    row_count = np.bincount(before, minlength=V)
    unigram = np.bincount(after, minlength=V) + 0.5
    unigram = unigram / unigram.sum()

    # An error in the logarithm of a pair costs in proportion to how often the pair occurs: hence the weights.
    information = np.log1p(counts / (PRIOR_PAIRS * unigram[column]))
    row_weight = np.sqrt((row_count + 1) / row_count.max())
    column_weight = np.sqrt(unigram / unigram.max()) + 0.02
    weighted = torch.sparse_coo_tensor(
        torch.tensor(np.stack([row, column])),
        torch.tensor(information * row_weight[row] * column_weight[column], dtype=torch.float32),
        (V, V),
        check_invariants=True,
    ).coalesce()
    rank = D - 2  # one feature for the unigram logarithms, one that gives every row the same length
    left, right = _factors(weighted, min(rank, V), seed)
    left = left / torch.tensor(row_weight, dtype=torch.float32)[:, None]
    right = right / torch.tensor(column_weight, dtype=torch.float32)[:, None]

    # The model's norm makes all rows sqrt(D) long, so they are made so here, by the last feature.
    longest = 0.9 * math.sqrt(D)
    scale = longest / left.norm(dim=1).quantile(FITTING).clamp(min=1e-6)
    left, right = left * scale, right / scale
    room = math.sqrt(D - 1)
    left = left * (0.999 * room / left.norm(dim=1, keepdim=True).clamp(min=1e-6)).clamp(max=1.0)
    embedding, head = torch.zeros(V, D), torch.zeros(V, D)
    embedding[:, : left.shape[1]], head[:, : right.shape[1]] = left, right
    logarithms = torch.tensor(np.log(unigram), dtype=torch.float32)
    embedding[:, -2], head[:, -2] = 1.0, logarithms - logarithms.mean()
    embedding[:, -1] = (D - 1 - left.square().sum(dim=1)).sqrt()
    model.embed_tokens.weight.copy_(embedding * EMBEDDING_RMS)
    model.lm_head.weight.copy_(head)
