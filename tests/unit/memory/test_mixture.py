"""The mixture is a distribution, the same token by token as over whole files, and its gate never sees the target."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from cllm.errors import InvalidCheckpoint
from cllm.memory import evidence
from cllm.memory.gate import Gate, fit
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Memory, Reader, Source, gather, learn, mix
from cllm.memory.observe import observe
from cllm.memory.store import from_bytes, to_bytes
from cllm.model.config import ModelConfig, config_for
from cllm.model.transformer import Transformer

V, EOT = 64, 0


def documents(seed: int, count: int, size: int = 120) -> list[np.ndarray]:
    """Texts of phrases: twelve that all of them share, and four of their own."""
    random = np.random.default_rng(seed)
    shared = [np.random.default_rng(i).integers(1, V, 7) for i in range(12)]
    texts = []
    for _ in range(count):
        phrases = [*shared, *(random.integers(1, V, 7) for _ in range(4))]
        texts.append(np.concatenate([phrases[i] for i in random.integers(0, 16, size // 6)]))
    return texts


@pytest.fixture(scope="module")
def model() -> Transformer:
    config: ModelConfig = config_for("nano", V, 32)
    model = Transformer(config)
    model.initialise(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def memory(model: Transformer) -> Memory:
    index = MemoryIndex.build(documents(1, 10), EOT)
    found = gather(index, model, documents(2, 8))
    return learn(index, found, [Source(f"{d}.c", "c", "MIT") for d in range(10)])[0]


def network_logs(model: Transformer, document: np.ndarray) -> np.ndarray:
    """(n, V), each token from all that precede it: only for documents within the context."""
    ids = torch.from_numpy(np.concatenate(([EOT], document[:-1])).astype(np.int64))[None]
    with torch.inference_mode():
        return model.logits(model.hidden(ids)).log_softmax(dim=-1)[0].double().numpy()


@pytest.mark.parametrize("cached", [False, True])
def test_it_sums_to_one_and_is_what_was_evaluated(model: Transformer, memory: Memory, cached: bool) -> None:
    texts = [d[:32] for d in documents(5, 6)]
    read = mix(memory, gather(memory.index, model, texts))
    evaluated = read.cached if cached else read.static
    at = 0
    for text in texts:
        reader = Reader(memory, cached)
        logs = network_logs(model, text)
        for place, token in enumerate(text.tolist()):
            p = reader.distribution(logs[place])
            assert p.sum() == pytest.approx(1, abs=1e-6)
            assert p.min() >= 0
            assert np.log(p[token]) == pytest.approx(evaluated[at], abs=1e-4)
            reader.feed([token])
            at += 1


def test_repetition_is_worth_remembering(model: Transformer, memory: Memory) -> None:
    """The phrases stand in the memory, and an untrained network knows nothing of them."""
    read = mix(memory, gather(memory.index, model, documents(7, 4)))
    assert read.static.mean() > read.network.mean() + 1
    assert read.cached.mean() > read.static.mean() + 0.1


def test_the_gate_sees_the_context_and_never_the_target(model: Transformer, memory: Memory) -> None:
    text = documents(8, 1)[0]
    for place in (0, 5, 40, 90):
        found = []
        for target in (int(text[place]), 1, 17, V - 1):
            changed = np.concatenate((text[:place], [target]))
            situation = gather(memory.index, model, [changed]).situation
            found.append([np.asarray(getattr(situation, f.name))[place] for f in fields(situation)])
        for other in found[1:]:
            for a, b in zip(found[0], other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_absent_component_has_no_weight_and_no_probability(model: Transformer, memory: Memory) -> None:
    found = gather(memory.index, model, documents(9, 3))
    for gate, cached in ((memory.static, False), (memory.cached, True)):
        there = evidence.present(found.situation, cached)
        weights = gate.weights(evidence.features(found.situation, cached), there)
        assert (weights[~there] == 0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1)
        assert (found.probabilities(cached)[~there] == 0).all()
        assert not there.all()


def test_a_gate_of_too_few_tokens_trusts_the_network() -> None:
    fitted = fit(np.zeros((5, 4), np.float32), np.ones((5, 3), bool), np.ones((5, 3), np.float32), np.arange(5))
    assert fitted.cross_fitted is None
    assert fitted.gate.weights(np.ones((1, 4), np.float32), np.ones((1, 3), bool))[0, 0] > 0.9


def test_the_same_evidence_gives_the_same_gate() -> None:
    random = np.random.default_rng(0)
    x, p = random.random((600, 5)).astype(np.float32), random.random((600, 3)).astype(np.float32)
    gates = [fit(x, np.ones((600, 3), bool), p, np.arange(600) // 50).gate for _ in range(2)]
    for name, array in gates[0].arrays("g").items():
        assert (array == gates[1].arrays("g")[name]).all()


def test_a_document_is_read_in_windows_as_evaluation_does(model: Transformer) -> None:
    from cllm.evaluation.likelihood import Tokens, likelihoods

    texts = documents(4, 3, 200)
    seen = observe(model, texts, np.full((sum(map(len, texts)), 1), -1), EOT)
    whole = likelihoods(model, [Tokens(t.tolist(), 1) for t in texts], EOT)
    assert -seen.target.sum() == pytest.approx(sum(w.nats for w in whole), rel=1e-5)


def test_stored_and_read_again_it_is_the_same(memory: Memory) -> None:
    again = from_bytes(to_bytes(memory))
    assert again.sources == memory.sources
    assert (again.index.order == memory.index.order).all()
    assert to_bytes(again) == to_bytes(memory)
    with pytest.raises(InvalidCheckpoint):
        from_bytes(to_bytes(memory)[:-9])
    with pytest.raises(InvalidCheckpoint):
        from_bytes(to_bytes(Memory(memory.index, memory.static, memory.cached, memory.sources[1:])))


def test_without_some_files_it_is_the_memory_of_the_others(memory: Memory) -> None:
    left = memory.without([2, 7])
    anew = MemoryIndex.build([d for i, d in enumerate(documents(1, 10)) if i not in (2, 7)], EOT)
    assert to_bytes(left) == to_bytes(
        Memory(anew, memory.static, memory.cached, tuple(s for s in memory.sources if s.path not in ("2.c", "7.c")))
    )


def test_a_copy_of_a_reader_goes_its_own_way(memory: Memory) -> None:
    reader = Reader(memory)
    reader.feed([1, 2, 3])
    logs = np.full(V, -np.log(V))
    before = reader.distribution(logs)
    other = reader.copy()
    other.feed([4, 5])
    np.testing.assert_array_equal(reader.distribution(logs), before)
    assert isinstance(memory.static, Gate)
