"""Initial attention heads that do from the first step what trained transformers are found to do.

Code repeats itself, and transformers learn to use it by two heads in succession (the induction circuit of Olsson et al.
2022): a head of the first layer notes at each place which token stands before it; a head of the second one looks for
places whose note is the current token, and so finds what followed it earlier. In a training of minutes a good part of
the steps goes by before gradients have found this, so it is written into the queries and keys at the start. What
the heads do with what they see is left to training: their outputs begin at or near zero.

It relies on two features that `cllm.model.bigram` gives the embedding: one that is the same for all tokens, and later
features that carry less than earlier ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cllm.model.transformer import Attention, Transformer, rotations

SHARPNESS = 2.0  # what the scores of these layers are multiplied by, half of it by queries and half by keys
NOTE = 0.1  # size of what the first layer notes, about that of the embedding
REST, OTHER = 0.1, 0.3  # size of the random weights beside those set, in the first layer's heads and the second's


@torch.no_grad()
def start_with_induction(model: Transformer, seed: int) -> None:
    """Set heads of the first two layers of a `model` that `start_from_bigrams` has prepared.

    The first two heads of the first layer look one and two tokens back; the first head of the second layer looks at
    what followed earlier occurrences of the current token.
    """
    generator = torch.Generator().manual_seed(seed + 1)
    first = model.layers[0].self_attn
    assert isinstance(first, Attention)
    _look_back(first, model, generator)
    if len(model.layers) > 1:
        second = model.layers[1].self_attn
        assert isinstance(second, Attention)
        _look_for_the_same(first, second, model, generator)


def _sharpen(attention: Attention) -> None:
    for norm in (attention.q_norm, attention.k_norm):
        norm.weight.fill_(SHARPNESS**0.5)


def _look_back(attention: Attention, model: Transformer, generator: torch.Generator) -> None:
    """Heads 0 and 1: keys are the same everywhere, and so are queries but for a turn by one or two positions."""
    W, D = attention.head_width, model.config.width
    constant = D - 2  # the feature of `cllm.model.bigram` that is 1 for every token
    # Angles between neighbours in a pair of features; only the fast ones tell neighbours from each other.
    cos, sin = (table[:3].float() for table in rotations(model.config, 3, torch.float64))
    fast = int((sin[1] > 0.2).sum())
    for head in range(min(2, attention.heads)):
        query, key = (torch.randn(W, D, generator=generator) * REST / D**0.5 for _ in range(2))
        key[:fast, constant] += 1.0
        query[:fast, constant] += cos[head + 1, :fast]
        query[W // 2 : W // 2 + fast, constant] -= sin[head + 1, :fast]
        attention.q_proj.weight[head * W : (head + 1) * W] = query
        group = head * attention.kv_heads // attention.heads
        attention.k_proj.weight[group * W : (group + 1) * W] = key
    _sharpen(attention)


def _look_for_the_same(first: Attention, second: Attention, model: Transformer, generator: torch.Generator) -> None:
    """Head 0 of `first` notes a projection of the token before; head 0 of `second` compares it with the current one."""
    W, D = first.head_width, model.config.width
    size = min(W // 2, D // 4)
    random = torch.linalg.qr(torch.randn(D - 2, size, generator=generator)).Q.T
    token = torch.cat((random, torch.zeros(size, 2)), dim=1)  # (size, D), blind to what is the same for all tokens
    note = torch.zeros(size, D)
    note[:, D - 2 - size : D - 2] = torch.eye(size)  # where the embedding carries least
    first.v_proj.weight[:size] = token
    first.o_proj.weight[:, :size] = NOTE * note.T
    slow = _slow_features(W)[:size]  # whose angles hardly turn over a window, so that the distance does not matter
    for projection, matrix in ((second.q_proj, token), (second.k_proj, note)):
        projection.weight[:W] *= OTHER
        projection.weight[slow] = matrix
    _sharpen(second)


def _slow_features(width: int) -> Tensor:
    """The features of a head of `width` that turn slowest, as both halves of their pairs."""
    half = width // 2
    slowest = torch.arange(half // 2, half)
    return torch.cat((slowest, slowest + half))
