"""The cache must change nothing: every score is compared with the model run on the whole window."""

from __future__ import annotations

import itertools

import pytest
import torch

from cllm.inference import engine as engine_module
from cllm.inference.engine import Engine, prompt_window
from cllm.model.transformer import Transformer
from tests.memorised import random_model


def scores_without_cache(model: Transformer, window: list[int]) -> torch.Tensor:
    """fp32 scores (V,) of the token after `window`."""
    with torch.no_grad():
        return model.logits(model.hidden(torch.tensor([window])))[0, -1]


def slide(window: list[int], token: int, context: int) -> list[int]:
    """The window after one more token, as the engine's docstring says."""
    window = [*window, token]
    return window[-(context // 2) :] if len(window) > context else window


@pytest.mark.parametrize("prompt_length", [1, 7, 24])
def test_decoding_gives_the_scores_of_the_whole_window_also_when_it_slides(prompt_length: int) -> None:
    context = 24
    model = random_model(context, seed=prompt_length)
    window = [(7 * i) % 300 for i in range(prompt_length)]
    engine = Engine(model)
    scores = engine.prefill([window])[0]
    for _ in range(3 * context):
        expected = scores_without_cache(model, window)
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
        token = int(scores.argmax())
        assert token == int(expected.argmax())
        window = slide(window, token, context)
        scores = engine.decode_one([token])[0]


def test_the_cache_is_really_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(32)
    lengths: list[int] = []
    original = model.hidden
    monkeypatch.setattr(model, "hidden", lambda ids, *rest: lengths.append(ids.shape[1]) or original(ids, *rest))
    engine = Engine(model)
    engine.prefill([[1, 2, 3]])
    engine.decode_one([4])
    engine.decode_one([5])
    assert lengths == [3, 1, 1]


def test_sequences_together_get_the_scores_they_get_alone() -> None:
    context = 16
    model = random_model(context)
    windows = [[5], list(range(10, 26)), [9, 8, 7, 6, 5, 4], list(range(40, 53))]
    engine = Engine(model)
    scores = engine.prefill(windows)
    for step in range(40):
        expected = torch.stack([scores_without_cache(model, window) for window in windows])
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)
        if step in (3, 20):  # at first the longest goes, so that padding is left over that nobody needs
            kept = [2, 0] if step == 3 else [1]
            engine.keep(kept)
            windows, scores = [windows[row] for row in kept], scores[kept]
        tokens = scores.argmax(dim=-1).tolist()
        windows = [slide(window, token, context) for window, token in zip(windows, tokens, strict=True)]
        scores = engine.decode_one(tokens)


def test_a_prompt_in_chunks_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(32)
    windows = [list(range(30)), list(range(100, 111))]
    whole = Engine(model).prefill(windows)
    monkeypatch.setattr(engine_module, "_CHUNK", 7)
    torch.testing.assert_close(Engine(model).prefill(windows), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(Engine(model).prefill(windows[:1]), whole[:1], rtol=1e-4, atol=1e-4)


def test_a_context_of_one_token_works() -> None:
    model = random_model(1)
    engine = Engine(model)
    engine.prefill([[3]])
    torch.testing.assert_close(engine.decode_one([4])[0], scores_without_cache(model, [4]), rtol=1e-4, atol=1e-4)


def test_two_engines_on_one_model_do_not_disturb_each_other() -> None:
    model = random_model(16)
    one, other = Engine(model), Engine(model)
    one.prefill([[1, 2, 3]])
    other.prefill([[4, 5, 6, 7]])
    torch.testing.assert_close(one.decode_one([9])[0], scores_without_cache(model, [1, 2, 3, 9]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("length", "context", "max_tokens", "kept"),
    [(15, 16, 100, 15), (16, 16, 100, 8), (16, 16, 3, 13), (99, 16, 3, 13), (1, 1, 5, 1), (9, 2, 1, 1)],
)
def test_a_long_prompt_keeps_its_end_and_leaves_room(length: int, context: int, max_tokens: int, kept: int) -> None:
    ids = list(range(length))
    assert prompt_window(ids, context, max_tokens) == ids[-kept:]


def test_several_tokens_at_once_get_the_scores_of_one_by_one_and_can_be_taken_back() -> None:
    context = 24
    model = random_model(context)
    together, alone = Engine(model), Engine(model)
    tokens = [(11 * i) % 300 for i in range(100)]
    together.prefill([tokens[:5]])
    alone.prefill([tokens[:5]])
    place, sizes = 5, itertools.cycle([3, 1, 6, 2])
    slid = 0
    while place < 90:
        size = min(next(sizes), max(1, together.room))
        slid += together.room == 0
        scores = together.extend([*tokens[place : place + size], *([7, 8] if together.room >= size + 2 else [])])
        together.rewind(len(scores) - size)
        expected = torch.cat([alone.decode_one([token]) for token in tokens[place : place + size]])
        torch.testing.assert_close(scores[:size], expected, rtol=1e-4, atol=1e-4)
        place += size
    assert slid > 3


@pytest.mark.parametrize("until", [9, 16, 20])
def test_settled_scores_are_those_of_one_by_one_to_the_last_bit(until: int) -> None:
    model = random_model(16, seed=3)
    together, alone = Engine(model), Engine(model)
    tokens = [(13 * i) % 300 for i in range(until)]
    together.prefill([tokens[:4]])
    expected = alone.prefill([tokens[:4]])
    assert together.settled
    for token in tokens[4:]:
        expected = alone.decode_one([token])
    place = 4
    while place < until:
        size = min(3, max(1, together.room), until - place)
        drafted = [5] if together.room > size else []
        together.extend([*tokens[place : place + size], *drafted])
        together.rewind(len(drafted))
        place += size
    if not together.settled:
        assert torch.equal(together.settle(), expected[0])
    assert together.settled
    assert torch.equal(together.decode_one([1]), alone.decode_one([1]))
