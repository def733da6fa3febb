"""Laws of text streams, healing and sampling, for inputs nobody thought of."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.inference.healing import TokenIndex
from cllm.inference.sampling import choose, distribution
from cllm.inference.text import TextStream
from cllm.settings import SamplingSettings


def reference(text: str, stops: list[str]) -> tuple[str, bool]:
    """Character by character: the text ends before the first stop string to be complete."""
    for end in range(1, len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))], True
    return text, False


@settings(max_examples=300, deadline=None)
@given(
    data=st.lists(st.text("aé", max_size=8).map(str.encode) | st.binary(max_size=3), max_size=8).map(b"".join),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    stops=st.lists(st.text("aé", min_size=2, max_size=6), max_size=3),
)
def test_a_text_stream_does_not_depend_on_how_bytes_are_cut(data: bytes, cuts: list[int], stops: list[str]) -> None:
    expected, stopped = reference(data.decode(errors="replace"), stops)
    stream, shown = TextStream(stops), ""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in itertools.pairwise(places):
        shown += stream.feed(data[start:stop])
        assert expected.startswith(shown)
        if stream.stopped:
            break
    shown += stream.finish()
    assert (shown, stream.stopped) == (expected, stopped)


vocabularies = st.sets(st.text("ab", max_size=5).map(str.encode))


@settings(max_examples=300, deadline=None)
@given(
    vocabulary=vocabularies.map(sorted),
    pieces=st.lists(st.text("ab", min_size=1, max_size=3).map(str.encode), max_size=5),
)
def test_healing_agrees_with_its_definition(vocabulary: list[bytes], pieces: list[bytes]) -> None:
    index = TokenIndex(vocabulary)
    text = b"".join(pieces)
    agreeing = [
        token for token, data in enumerate(vocabulary) if data and (data.startswith(text) or text.startswith(data))
    ]
    assert sorted(index.agreeing_with(text)) == agreeing

    # A token that begins in the prompt and ends after it begins in what is removed; and no more is removed.
    starts = [
        start
        for start in range(len(text))
        if any(data.startswith(text[start:]) and len(data) > len(text) - start for data in vocabulary)
    ]
    boundaries = [sum(map(len, pieces[:count])) for count in range(len(pieces) + 1)]
    kept = max(b for b in boundaries if b <= min(starts, default=len(text)))
    assert boundaries[len(pieces) - index.back_up(pieces)] == kept


def reference_distribution(logits: np.ndarray, s: SamplingSettings) -> np.ndarray:
    """The filters one after the other, in float64, over the whole vocabulary."""
    p = np.exp((logits - logits.max()) / s.temperature)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    if s.top_k:
        p[order[s.top_k :]] = 0
        p /= p.sum()
    if s.top_p < 1:
        before = np.cumsum(p[order]) - p[order]
        p[order[before >= s.top_p]] = 0
        p /= p.sum()
    p[p < s.min_p * p.max()] = 0
    return p / p.sum()


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 400),
    spread=st.floats(0.01, 10),
    temperature=st.floats(0.05, 5),
    top_k=st.integers(0, 50),
    top_p=st.floats(0.01, 1),
    min_p=st.floats(0, 0.5),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_sampling_is_the_textbook_distribution(
    seed: int, size: int, spread: float, temperature: float, top_k: int, top_p: float, min_p: float, draw: float
) -> None:
    logits = (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)
    chosen = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    ids, probabilities = distribution(torch.from_numpy(logits), chosen)
    found = np.zeros(size)
    found[np.arange(size) if ids is None else ids.numpy()] = probabilities.numpy()
    expected = reference_distribution(logits.astype(np.float64), chosen)
    # A token on the very edge of a filter may fall on either side of it by rounding: it is a small one in the tail.
    differing = (found > 0) != (expected > 0)
    assert differing.sum() <= 1
    if not differing.any():
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert found[choose(torch.from_numpy(logits), chosen, draw)] > 0
