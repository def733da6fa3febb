"""Names are exchanged for others of their kind, everywhere in a microbatch, by its number alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cllm.order import NO_TARGET, Batch
from cllm.tokenizer import Tokenizer
from cllm.training.renaming import KINDS, RENAMED, Renaming

SOURCE = Path(__file__).read_text() + Path(np.__file__).read_text()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([SOURCE], 600)


def kind_of(text: bytes) -> int | None:
    return next((i for i, kind in enumerate(KINDS) if kind.fullmatch(text)), None)


def test_only_names_change_and_each_to_one_of_its_kind(tokenizer: Tokenizer) -> None:
    renaming = Renaming(tokenizer, 0.5, seed=3)
    table = next(t for t in map(renaming.table, range(50)) if t is not None)
    assert sorted(table[:-1]) == list(range(tokenizer.vocabulary))  # an exchange: nothing is lost
    assert table[NO_TARGET] == NO_TARGET
    changed = np.flatnonzero(table[:-1] != np.arange(tokenizer.vocabulary))
    assert len(changed) > 50
    for token in changed:
        kind = kind_of(tokenizer.token_bytes(int(token)))
        assert kind is not None and kind == kind_of(tokenizer.token_bytes(int(table[token])))


def test_kinds_keep_words_apart_that_code_does_not_exchange() -> None:
    words = [b"size", b"MAX_LEN", b"FileName", b" size", b" NULL", b" Inc"]
    assert len({kind_of(word) for word in words}) == len(words) == len(KINDS)
    assert kind_of(b"_len") == kind_of(b"size")
    assert {kind_of(other) for other in (b"__", b"x", b"x2", b"  size", b"size(")} == {None}


def test_inputs_and_targets_get_the_same_names(tokenizer: Tokenizer) -> None:
    ids = np.array(tokenizer.encode(SOURCE)[:401], dtype=np.int64)
    targets = ids[None, 1:].copy()
    targets[0, 7] = NO_TARGET
    batch = Batch(ids[None, :-1], targets, np.zeros((1, 400), dtype=bool))
    renaming = Renaming(tokenizer, 1.0, seed=0)
    number = next(n for n in range(50) if renaming.table(n) is not None)
    made = renaming.apply(batch, number)
    assert (made.inputs != batch.inputs).mean() > 0.1
    kept = np.arange(400) != 7
    assert (made.inputs[0, 1:] == made.targets[0, :-1])[kept[:-1]].all()
    assert made.targets[0, 7] == NO_TARGET
    assert made.starts is batch.starts


def test_it_is_decided_by_seed_and_number(tokenizer: Tokenizer) -> None:
    def tables(seed: int, share: float = 0.2) -> list[bytes | None]:
        renaming = Renaming(tokenizer, share, seed)
        return [None if (t := renaming.table(n)) is None else t.tobytes() for n in range(300)]

    once = tables(1)
    assert tables(1) == once
    assert tables(2) != once
    assert len(set(once)) > 100
    assert once.count(None) / 300 == pytest.approx(1 - RENAMED, abs=0.1)
    assert set(tables(1, share=0.0)) == {None}


@pytest.mark.parametrize(("share", "close"), [(0.2, 0.08), (0.8, 0.08)])
def test_so_many_names_take_part(tokenizer: Tokenizer, share: float, close: float) -> None:
    renaming = Renaming(tokenizer, share, seed=0)
    names = sum(kind_of(tokenizer.token_bytes(t)) is not None for t in range(tokenizer.vocabulary))
    changed = [
        (t[:-1] != np.arange(tokenizer.vocabulary)).sum() for t in map(renaming.table, range(60)) if t is not None
    ]
    assert np.mean(changed) / names == pytest.approx(share, abs=close)
