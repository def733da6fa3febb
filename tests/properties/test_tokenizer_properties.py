"""Any string comes back byte for byte, with the ids that transformers gives it."""

from functools import cache
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from cllm import tokenizer as module
from cllm.tokenizer import SPECIALS, Tokenizer

FRAGMENTS = [
    *SPECIALS, "<|", "|>", "\n", "\r", "\r\n", "\t", " ", "  ", "    ", "\u00a0", "\u0085", "\u2028", "\x1c", "\x0b",
     "\f", "'s", "'LL", "'ſ", "_", "1", "٣", "Ⅷ", "²", "ﬁ", "é", "e\u0301", "中", "🙂", "def", "return", "x", "==",
     "\x00",
]  # fmt: skip
NEIGHBOURS = [f"{edge}{left}{right}{edge}" for left, right in product(FRAGMENTS, repeat=2) for edge in "x1"]
TEXTS = st.one_of(
    st.text(), st.text(st.characters(max_codepoint=127)), st.lists(st.sampled_from(FRAGMENTS)).map("".join)
)


@cache
def tokenizers() -> tuple[Tokenizer, PreTrainedTokenizerFast]:
    """Trained on `NEIGHBOURS`, so that text which is split at another place has other ids."""
    tokenizer = Tokenizer.train(NEIGHBOURS * 2, 4000)
    return tokenizer, PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_json(tokenizer.to_json())._tokenizer)


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_exact_and_the_same_as_transformers(text: str) -> None:
    tokenizer, reference = tokenizers()
    ids = tokenizer.encode(text)
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert not tokenizer.specials & set(ids)
    assert ids == reference(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, max_size=5), st.integers(1, 5))
def test_cutting_long_texts_makes_no_difference(texts: list[str], size: int) -> None:
    tokenizer, _ = tokenizers()
    whole = [tokenizer.encode(text) for text in texts]
    original = module._CHUNK
    module._CHUNK = size
    try:
        assert tokenizer.encode_batch(texts) == whole
    finally:
        module._CHUNK = original


def test_all_neighbours_are_split_as_transformers_does(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, reference = tokenizers()
    expected = reference(NEIGHBOURS, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.encode_batch(NEIGHBOURS) == expected
    monkeypatch.setattr(module, "_CHUNK", 1)
    assert tokenizer.encode_batch(NEIGHBOURS) == expected
