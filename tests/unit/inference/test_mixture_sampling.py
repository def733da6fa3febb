"""Completions drawn from the mixture of a network and its memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from cllm.inference.completer import Completer
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Memory, Reader, Source, gather, learn
from cllm.settings import SamplingSettings
from tests.memorised import TEXT, memorised, random_model

LOADED = memorised()
RANDOM = replace(LOADED, model=random_model(64, seed=2, vocabulary=LOADED.tokenizer.vocabulary))


@pytest.fixture(scope="module")
def memory() -> Memory:
    """Of a text that the random network knows nothing of; the gate has learned that the memory is right."""
    ids = np.array(LOADED.tokenizer.encode(TEXT))
    index = MemoryIndex.build([ids], LOADED.tokenizer.end_of_text)
    held_out = [ids[:120], ids[40:], ids[:150], ids[20:]]
    return learn(index, gather(index, RANDOM.model, held_out), [Source("walk.py", "python", None)])[0]


def test_a_network_that_knows_nothing_completes_what_its_memory_knows(memory: Memory) -> None:
    completer = Completer(RANDOM, memory)
    done = completer.complete(TEXT[:100], SamplingSettings(temperature=0, max_tokens=40))
    assert TEXT[100:].startswith(done.text)
    assert done.passes < done.decoded / 2  # and its memory drafted it
    (part,) = completer.provenance(done)
    assert part["origin"]["line"] == 1 + TEXT[:100].count("\n")
    without = completer.complete(TEXT[:100], SamplingSettings(temperature=0, max_tokens=40, memory="off"))
    assert without.text == Completer(RANDOM).complete(TEXT[:100], SamplingSettings(temperature=0, max_tokens=40)).text
    assert without.text != done.text


@pytest.mark.parametrize("temperature", [0, 0.8, 2.0])
def test_drafts_change_nothing_in_it(memory: Memory, temperature: float) -> None:
    completer = Completer(RANDOM, memory)
    prompts = [TEXT[:50], TEXT[:120] + "impo", "zz = 1\n", TEXT * 2, ""]
    saved = 0
    for seed, prompt in enumerate(prompts):
        off, on = (
            completer.complete(
                prompt, SamplingSettings(temperature=temperature, max_tokens=90, seed=seed, drafts=drafts)
            )
            for drafts in ("off", "on")  # type: ignore[misc]
        )
        assert (on.text, on.ids, on.finish_reason) == (off.text, off.ids, off.finish_reason)
        saved += off.passes - on.passes
    assert saved > 0
    settings = SamplingSettings(temperature=temperature, max_tokens=30, seed=4)
    together = completer.complete_many(prompts, settings, batch=2)
    assert [done.text for done in together] == [completer.complete(prompt, settings).text for prompt in prompts]


def test_tokens_are_drawn_from_the_mixture(memory: Memory) -> None:
    """Chi-square of 2000 draws of a token against the reader's own distribution; the seeds are fixed."""
    completer, prompt = Completer(RANDOM, memory), TEXT[:60]
    ids = LOADED.tokenizer.encode(prompt)
    reader = Reader(memory)
    reader.feed(ids)
    window = [LOADED.tokenizer.end_of_text, *ids]
    logs = RANDOM.model.logits(RANDOM.model.hidden(torch.tensor([window])))[0, -1].log_softmax(0).numpy()
    p = reader.distribution(logs)
    p[completer.forbidden_V.numpy()] = 0
    p = p**0.2 / (p**0.2).sum()  # temperature 5
    sequence = completer._sequence(prompt, SamplingSettings(temperature=5.0, top_p=1.0, seed=1), False)
    scores = sequence.scores(torch.from_numpy(logs))
    seen = Counter(sequence.choose(scores) for _ in range(2000))
    likely = np.flatnonzero(2000 * p >= 5)
    rest = 1 - p[likely].sum()
    chi2 = sum((seen[int(t)] - 2000 * p[t]) ** 2 / (2000 * p[t]) for t in likely)
    chi2 += (2000 - sum(seen[int(t)] for t in likely) - 2000 * rest) ** 2 / (2000 * rest)
    freedom = len(likely)
    assert freedom > 5
    # Wilson & Hilferty 1931: the cube root of chi-square is nearly normal; 3 deviations
    assert chi2 < freedom * (1 - 2 / (9 * freedom) + 3 * (2 / (9 * freedom)) ** 0.5) ** 3
