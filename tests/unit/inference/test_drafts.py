"""Drafts change how fast tokens come, never which."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from cllm.checkpoint import LoadedModel
from cllm.inference import completer as completer_module
from cllm.inference.completer import Completer, Completion
from cllm.inference.drafts import NOTHING, Ahead, Drafter
from cllm.inference.engine import Engine
from cllm.settings import SamplingSettings
from tests.memorised import LOOP, TEXT, looping, memorised, random_model


def both(completer: Completer, prompt: str, **settings: Any) -> tuple[Completion, Completion]:
    """Without drafts, and with."""
    off, on = (
        completer.complete(prompt, SamplingSettings(**{"seed": 1} | settings, drafts=drafts))  # type: ignore[arg-type]
        for drafts in ("off", "on")
    )
    return off, on


def told(done: Completion) -> tuple[str, int, str, int]:
    return done.text, done.tokens, done.finish_reason, done.decoded


def test_a_text_that_repeats_itself_is_drafted() -> None:
    off, on = both(Completer(looping()), LOOP * 2, temperature=0, max_tokens=300)
    assert told(on) == told(off)
    assert off.passes == off.decoded == 299
    assert on.passes < off.passes / 2


@pytest.mark.parametrize("max_tokens", [1, 2, 3, 17, 18, 40])
def test_max_tokens_is_kept_within_a_draft(max_tokens: int) -> None:
    off, on = both(Completer(looping()), LOOP * 3 + "whi", temperature=0, max_tokens=max_tokens)
    assert told(on) == told(off)
    assert on.tokens == max_tokens


@pytest.mark.parametrize("stop", ["again", "\n\t", "(1)  # ", "1)  # again\nwhile True:\n\tstep"])
def test_a_stop_string_ends_a_text_within_a_draft(stop: str) -> None:
    off, on = both(Completer(looping()), LOOP * 3, temperature=0, stop=(stop,), max_tokens=100)
    assert told(on) == told(off)
    assert on.finish_reason == "stop"


@pytest.mark.parametrize("penalty", [1.0, 1.3])
@pytest.mark.parametrize("temperature", [0, 0.5, 1.5])
def test_text_is_the_same_with_drafts_and_without(temperature: float, penalty: float) -> None:
    completer = Completer(memorised())
    passes = 0
    for seed, prompt in enumerate((TEXT[:150] + TEXT[:150], TEXT[150:400] * 2, "a b a b a b a", TEXT[:77])):
        settings = {"seed": seed, "temperature": temperature, "repetition_penalty": penalty}
        off, on = both(completer, prompt, max_tokens=80, **settings)
        assert told(on) == told(off)
        passes += off.passes - on.passes
    assert passes > 0 or penalty > 1


def test_cancelling_within_a_draft_keeps_what_was_shown() -> None:
    generation = Completer(looping()).stream(LOOP * 3, SamplingSettings(temperature=0, max_tokens=200))
    shown = ""
    for piece in generation:
        shown += piece
        if len(shown) > 50:
            generation.cancel()
    assert (generation.completion.text, generation.completion.finish_reason) == (shown, "cancelled")
    assert (LOOP * 9).startswith(shown)


class Fixed:
    """A source that always proposes the same."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens

    def follow(self, longest: int) -> tuple[int, list[int]]:
        return 40, self.tokens[:longest]


def drawn(loaded: LoadedModel, source: Fixed | None, settings: SamplingSettings, prefix: list[int]) -> tuple[int, ...]:
    """The tokens that a completion draws, with the drafts of `source`."""
    completer = Completer(loaded)
    sequence = completer._sequence("x", settings, False)
    ahead = Ahead(Engine(loaded.model), None if source is None else Drafter(prefix, source))
    scores = ahead.prefill(prefix)
    tokens: list[int] = []
    while True:
        tokens.append(sequence.choose(sequence.scores(scores)))
        sequence.accept(tokens[-1])
        if sequence.finish_reason is not None:
            return tuple(tokens)
        scores = ahead.after(tokens[-1], 20)


def test_sampling_keeps_the_distribution() -> None:
    """Chi-square of three tokens in a row against the exact probabilities, for drafts likely and unlikely.

    1500 draws each; the seeds are fixed, so it cannot fail by chance.
    """
    small = replace(memorised(), model=random_model(32, seed=5, vocabulary=memorised().tokenizer.vocabulary))
    base = SamplingSettings(temperature=0.25, top_k=4, top_p=0.9, max_tokens=3)
    prefix = [0, 70, 80]
    expected = exact(small, base, prefix)
    likeliest = max(expected, key=lambda tokens: expected[tokens])
    rare = min(expected, key=lambda tokens: expected[tokens])
    for draft in (likeliest, rare):
        source = Fixed([*draft, 9, 9, 9])
        seen = Counter(drawn(small, source, base.model_copy(update={"seed": seed}), prefix) for seed in range(1500))
        assert set(seen) <= set(expected)
        classes = [tokens for tokens in expected if expected[tokens] * 1500 >= 5]
        rest = 1 - sum(expected[tokens] for tokens in classes)
        chi2 = sum((seen[tokens] - 1500 * expected[tokens]) ** 2 / (1500 * expected[tokens]) for tokens in classes)
        if rest > 0:
            others = 1500 - sum(seen[tokens] for tokens in classes)
            chi2 += (others - 1500 * rest) ** 2 / (1500 * rest)
        freedom = len(classes) - (rest <= 0)
        # Wilson & Hilferty 1931: the cube root of chi-square is nearly normal; 3 deviations
        limit = freedom * (1 - 2 / (9 * freedom) + 3 * (2 / (9 * freedom)) ** 0.5) ** 3
        assert len(classes) > 8
        assert chi2 < limit


def exact(loaded: LoadedModel, settings: SamplingSettings, prefix: list[int]) -> dict[tuple[int, ...], float]:
    """The probability of every three tokens, from the model alone."""
    completer = Completer(loaded)
    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(settings.max_tokens):
        longer: dict[tuple[int, ...], float] = {}
        for tokens, probability in found.items():
            if tokens[-1:] == (completer.tokenizer.end_of_text,):
                longer[tokens] = probability
                continue
            logits = loaded.model.logits(loaded.model.hidden(torch.tensor([[*prefix, *tokens]])))[0, -1]
            logits = logits.masked_fill(completer.forbidden_V, -torch.inf).double()
            order = (logits / settings.temperature).softmax(0).sort(descending=True)
            kept = order.values[: settings.top_k] / order.values[: settings.top_k].sum()
            count = int((kept.cumsum(0) - kept < settings.top_p).sum())
            kept = kept[:count] / kept[:count].sum()
            for token, p in zip(order.indices.tolist(), kept.tolist(), strict=False):
                longer[*tokens, token] = probability * p
        found = longer
    return found


def test_a_close_choice_is_made_from_settled_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    completer = Completer(looping())
    settled = 0
    original = Engine.settle

    def settle(engine: Engine) -> torch.Tensor:
        nonlocal settled
        settled += 1
        return original(engine)

    monkeypatch.setattr(Engine, "settle", settle)
    plain = both(completer, LOOP * 3, temperature=0, max_tokens=100)[1]
    assert settled == 0
    monkeypatch.setattr(completer_module, "_TOO_CLOSE", 1e9)
    off, on = both(completer, LOOP * 3, temperature=0, max_tokens=100)
    assert settled > 8  # once a pass: what is settled ends the draft
    assert on.text == off.text == plain.text


def test_a_drafter_follows_the_longest_match_and_repeats_to_any_length() -> None:
    drafter = Drafter([1, 2, 3, 1, 2, 3, 1, 2])
    draft = drafter.propose(10)
    assert draft.tokens == [3, 1, 2, 3, 1, 2, 3, 1, 2, 3][: len(draft.tokens)]
    assert len(draft.tokens) >= 3
    assert drafter.propose(0) == NOTHING
    assert drafter.propose(1).tokens == [3]
    assert Drafter([1, 2, 3, 4]).propose(10) == NOTHING
    assert Drafter([]).propose(10) == NOTHING
    assert Drafter([1, 1]).propose(10) == NOTHING


def test_the_longer_of_two_matches_is_followed() -> None:
    assert Drafter([1, 2, 3, 1, 2], Fixed([8, 9])).propose(1).tokens == [8]
    period = list(range(50))
    assert Drafter(period * 3, Fixed([8, 9])).propose(1).tokens == [0]


def test_drafts_that_fail_are_made_no_more_and_drafts_that_hold_grow() -> None:
    tokens = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4]
    drafter = Drafter(tokens)
    first = drafter.propose(32)
    assert first.tokens
    for _ in range(10):
        drafter.learn(first, 0)
    assert drafter.propose(32) == NOTHING
    assert any(drafter.propose(32).tokens for _ in range(200))  # some day it is tried again
    for _ in range(20):
        drafter.learn(first, len(first.tokens))
    assert len(drafter.propose(32).tokens) > len(first.tokens)


def test_every_token_is_proposed_from_before_it() -> None:
    """A drafter that saw the text grow is the one that saw it at once."""
    tokens = [(i * i) % 7 for i in range(60)]
    growing = Drafter(tokens[:2])
    for end in range(3, len(tokens)):
        growing.accept(tokens[end - 1])
        assert growing.propose(8) == Drafter(tokens[:end]).propose(8)
        match, following = growing._follow(8)
        places = [p for p in range(match, end) if tokens[p - match : p] == tokens[end - match : end]]
        assert not match or following[0] in {tokens[place] for place in places}
