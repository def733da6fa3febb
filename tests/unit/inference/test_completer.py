"""Completions of a text that the model knows by heart: every one has exactly one right answer."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from cllm.errors import InvalidInput, InvalidSettings
from cllm.inference.completer import Completer
from cllm.settings import SamplingSettings
from tests.memorised import LOOP, TEXT, looping, memorised


@pytest.fixture(scope="module")
def completer() -> Completer:
    return Completer(memorised())


def greedy(**settings: Any) -> SamplingSettings:
    return SamplingSettings(**{"temperature": 0, "dry_multiplier": 0} | settings)


def warm(**settings: Any) -> SamplingSettings:
    return SamplingSettings(**{"temperature": 1.0, "top_p": 1.0} | settings)


def test_an_empty_prompt_begins_a_document_and_the_model_ends_it(completer: Completer) -> None:
    done = completer.complete("", greedy())
    assert (done.text, done.finish_reason) == (TEXT, "end")
    assert done.tokens == len(completer.tokenizer.encode(TEXT)) == done.decoded


def test_greedy_with_a_cache_is_greedy_without_one(completer: Completer) -> None:
    loaded = memorised()
    for prompt in ("zzz", "def main(sys", "import os\n\n\n"):  # where the text known by heart is of no help
        ids = [loaded.tokenizer.end_of_text, *loaded.tokenizer.encode(prompt)]
        begin = len(ids)
        while len(ids) < begin + 40:
            logits = loaded.model.logits(loaded.model.hidden(torch.tensor([ids])))[0, -1]
            logits[list(loaded.tokenizer.specials - {loaded.tokenizer.end_of_text})] = -torch.inf
            ids.append(int(logits.argmax()))
            if ids[-1] == loaded.tokenizer.end_of_text:
                break
        expected = loaded.tokenizer.decode(ids[begin:])
        for _ in range(2):
            assert completer.complete(prompt, greedy(max_tokens=40), heal=False).text == expected


def test_wherever_the_text_is_cut_it_is_completed(completer: Completer) -> None:
    def right(heal: bool) -> list[bool]:
        done = completer.complete_many([TEXT[:cut] for cut in range(len(TEXT))], greedy(max_tokens=3), heal=heal)
        return [d.text != "" and TEXT.startswith((d.prompt + d.text).rstrip("\ufffd")) for d in done]

    assert all(right(heal=True))
    assert sum(right(heal=False)) < len(TEXT) / 2  # it was healing that did it


def test_a_word_begun_is_completed(completer: Completer) -> None:
    assert completer.complete("impo", greedy(max_tokens=1)).text == "rt"
    assert completer.complete("impo", warm(max_tokens=1, seed=1)).text == "rt"


def test_healing_draws_only_what_agrees_with_the_prompt(completer: Completer) -> None:
    for seed in range(20):
        done = completer.complete("import os\nimpo", warm(temperature=3.0, max_tokens=8, seed=seed))
        again = completer.tokenizer.encode(done.prompt + done.text)
        assert completer.tokenizer.decode(again) == done.prompt + done.text
        assert 0 < done.tokens <= 8


def test_the_same_seed_gives_the_same_text_and_another_seed_another(completer: Completer) -> None:
    texts = [completer.complete("def ", warm(temperature=2.0, seed=seed)).text for seed in (5, 5, 6, 7)]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_seed_that_was_not_given_is_told(completer: Completer) -> None:
    first = completer.complete("def ", warm(temperature=2.0))
    assert completer.complete("def ", warm(temperature=2.0, seed=first.seed)).text == first.text
    assert completer.complete("def ", warm()).seed != first.seed


@pytest.mark.parametrize("stop", ["yield from", "\n\n\n", "→", "ntry.pa", '"""', "main():\n    for", ")"])
def test_text_ends_before_a_stop_string_and_no_part_of_it_is_shown(completer: Completer, stop: str) -> None:
    expected = TEXT.split(stop)[0]
    generation = completer.stream("", greedy(stop=(stop, "never there")))
    shown = ""
    for piece in generation:
        shown += piece
        assert expected.startswith(shown)
    assert (shown, generation.completion.finish_reason) == (expected, "stop")
    assert generation.completion.text == shown


def test_a_beginning_of_a_stop_string_at_the_end_is_shown(completer: Completer) -> None:
    done = completer.complete("", greedy(stop=("main()\nmain",)))
    assert (done.text, done.finish_reason) == (TEXT, "end")


@pytest.mark.parametrize("max_tokens", range(1, 40))
def test_max_tokens_counts_tokens_and_half_a_character_is_replaced(completer: Completer, max_tokens: int) -> None:
    tokens = completer.tokenizer.encode(TEXT)[:max_tokens]
    generation = completer.stream("", greedy(max_tokens=max_tokens))
    pieces = list(generation)
    done = generation.completion
    assert "".join(pieces) == done.text == completer.tokenizer.decode(tokens)
    assert (done.tokens, done.finish_reason) == (max_tokens, "length")
    assert not any("\ufffd" in piece for piece in pieces[:-1])


def test_a_stop_string_may_be_what_half_a_character_becomes(completer: Completer) -> None:
    cut = next(n for n in range(1, 80) if completer.complete("", greedy(max_tokens=n)).text.endswith("\ufffd"))
    done = completer.complete("", greedy(max_tokens=cut, stop=("\ufffd",)))
    assert (done.text, done.finish_reason) == (TEXT[: TEXT.index("ï")], "stop")


def test_text_is_streamed_as_it_is_made(completer: Completer) -> None:
    generation = completer.stream("", greedy())
    pieces = []
    for piece in generation:
        pieces.append(piece)
        assert generation.completion.text == "".join(pieces)
        assert generation.completion.tokens <= len(pieces) + 4
    assert len(pieces) > 50


def test_cancelling_keeps_what_there_is(completer: Completer) -> None:
    generation = completer.stream("", greedy(stop=("yield from nowhere",)))
    shown = ""
    for piece in generation:
        shown += piece
        if "is_dir" in shown:
            generation.cancel()
    assert generation.completion.finish_reason == "cancelled"
    assert generation.completion.text == shown
    assert TEXT.startswith(shown)
    assert len(shown) < len(TEXT) / 2


def test_more_tokens_than_the_context_holds() -> None:
    done = Completer(looping()).complete("", greedy(max_tokens=200))
    assert (done.tokens, done.finish_reason) == (200, "length")
    assert (LOOP * 200).startswith(done.text)


def test_a_prompt_longer_than_the_context_keeps_its_end() -> None:
    done = Completer(looping()).complete("x = 1\n" + LOOP * 40 + "whi", greedy(max_tokens=60))
    assert (LOOP * 500).startswith("whi" + done.text)


def test_special_tokens_are_never_drawn(completer: Completer) -> None:
    for seed in range(10):
        done = completer.complete("", warm(temperature=100.0, max_tokens=50, seed=seed), heal=False)
        # A special would have gone through the model without making text.
        assert done.decoded == done.tokens - (done.finish_reason == "length")


def test_greedy_passes_over_special_tokens_however_likely() -> None:
    loaded = memorised()
    model = copy.deepcopy(loaded.model)
    first, special = loaded.tokenizer.encode(TEXT)[0], loaded.tokenizer.fim_prefix
    model.embed_tokens.weight[special] = 3 * model.embed_tokens.weight[first]  # scores are products with these rows
    completer = Completer(replace(loaded, model=model))
    assert completer.complete("", greedy()).text == TEXT
    assert completer.complete_many([""], greedy())[0].text == TEXT


def test_a_loop_is_left_unless_that_is_unwanted() -> None:
    prompt = "x = 1\n" + LOOP * 4
    assert (LOOP * 500).startswith(Completer(looping()).complete(prompt, greedy(max_tokens=60)).text)
    done = Completer(looping()).complete(prompt, greedy(max_tokens=60, dry_multiplier=0.8))
    assert not (LOOP * 500).startswith(done.text)
    assert (LOOP * 500).startswith(done.text[:20])  # what the prompt says may be said again


def test_repetition_penalty_is_applied_to_prompt_and_completion(completer: Completer) -> None:
    prompt = "import os\n"
    assert completer.complete(prompt, greedy(max_tokens=2)).text == "import sys"
    assert "import" not in completer.complete(prompt, greedy(max_tokens=2, repetition_penalty=100.0)).text
    done = completer.complete("", greedy(max_tokens=40, repetition_penalty=100.0))
    assert done.text.count("walk") <= 1 < TEXT.count("walk")


def test_many_prompts_give_what_each_gives_alone(completer: Completer) -> None:
    prompts = ["", "import os\nimpo", "def main():\n", TEXT[:250], "for x in", TEXT, "   ", "é"]
    for settings in (greedy(stop=("\n",)), warm(temperature=1.5, seed=3, max_tokens=30, repetition_penalty=1.2)):
        alone = [completer.complete(prompt, settings) for prompt in prompts]
        together = completer.complete_many(prompts, settings, batch=3)
        assert [(d.prompt, d.text, d.finish_reason, d.tokens) for d in together] == [
            (d.prompt, d.text, d.finish_reason, d.tokens) for d in alone
        ]


def test_no_prompts_give_no_completions(completer: Completer) -> None:
    assert completer.complete_many([], greedy()) == []


def test_speed_is_tokens_decoded_by_the_time_they_took(completer: Completer) -> None:
    generation = completer.stream("", greedy())
    for _ in generation:
        torch.arange(200_000).double().sin().sum()  # the reader's time is not the model's
    done = generation.completion
    assert done.tokens_per_s == pytest.approx(done.decoded / done.decode_s)
    assert 0 < done.prefill_s < 1
    assert completer.complete("", greedy(max_tokens=1)).tokens_per_s == 0


def test_what_cannot_be_a_prompt_or_a_stop_string_is_refused_at_once(completer: Completer) -> None:
    with pytest.raises(InvalidInput, match="UTF-8"):
        completer.stream("caf\udce9", greedy())
    with pytest.raises(InvalidSettings, match="stop"):
        completer.stream("x", greedy(stop=("a", "")))
