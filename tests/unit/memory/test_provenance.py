"""Copied spans against a search through the text itself, and lines against real files."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cllm.errors import InvalidInput
from cllm.inference.completer import Completer
from cllm.memory.gate import Gate
from cllm.memory.index import MemoryIndex
from cllm.memory.mixture import Memory, Source, gather, learn
from cllm.memory.provenance import copied, copied_spans, listing, match_lengths, parts, trace
from cllm.settings import SamplingSettings
from cllm.tokenizer import Tokenizer
from tests.memorised import TEXT, memorised

documents = st.lists(st.lists(st.integers(1, 3), max_size=30), min_size=1, max_size=4)


def stands_in(documents: list[list[int]], span: list[int]) -> bool:
    n = len(span)
    return any(document[i : i + n] == span for document in documents for i in range(len(document) - n + 1))


@settings(max_examples=200, deadline=None)
@given(documents=documents, text=st.lists(st.integers(1, 4), max_size=40), depth=st.sampled_from([2, 4, 32]))
def test_spans_agree_with_their_definition(documents: list[list[int]], text: list[int], depth: int) -> None:
    index = MemoryIndex.build([np.array(d, dtype=np.int64) for d in documents], 0, depth)
    lengths = match_lengths(index, text)
    for end in range(1, len(text) + 1):
        assert lengths[end - 1] == max(n for n in range(end + 1) if not n or stands_in(documents, text[end - n : end]))
    least = 4
    for place, found in enumerate(copied(index, text, least)):
        assert found == any(
            stands_in(documents, text[i : i + least])
            for i in range(max(0, place - least + 1), place + 1)
            if i + least <= len(text)
        )
    spans = copied_spans(index, text, least)
    for start, stop in spans:
        assert stop - start >= least
        assert stands_in(documents, text[start:stop])
    gaps = [0, *itertools.chain.from_iterable(spans), len(text)]
    for start, stop in zip(gaps[::2], gaps[1::2], strict=True):  # and in what is called new, none stands
        assert start <= stop
        assert not any(stands_in(documents, text[i : i + least]) for i in range(start, stop - least + 1))


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    """Real sources, one of them twice."""
    texts = {path.name: path.read_text() for path in sorted(Path(json.__file__).parent.glob("*.py"))}
    texts["zzz.py"] = texts["decoder.py"]
    return texts


@pytest.fixture(scope="module")
def tokenizer(files: dict[str, str]) -> Tokenizer:
    return Tokenizer.train(files.values(), 1000)


def remembered(files: dict[str, str], tokenizer: Tokenizer) -> Memory:
    index = MemoryIndex.build(
        [np.array(ids) for ids in tokenizer.encode_batch(list(files.values()))], tokenizer.end_of_text
    )
    gate = Gate.untrained(1, 1)
    return Memory(index, gate, gate, tuple(Source(path, "python", "MIT" if path > "m" else None) for path in files))


def test_file_and_lines_are_those_of_the_real_text(files: dict[str, str], tokenizer: Tokenizer) -> None:
    memory = remembered(files, tokenizer)
    checked = 0
    for text in files.values():
        ids = tokenizer.encode(text)
        for start in range(0, len(ids) - 60, 97):
            span = ids[start : start + 20 + start % 40]
            (found,) = trace(memory.index, memory.sources, tokenizer, span)
            origin = found.origin
            assert origin is not None
            same = [name for name, other in files.items() if stands_in([tokenizer.encode(other)], span)]
            assert (origin.path, origin.others) == (same[0], len(same) - 1)
            lines = files[origin.path].split("\n")[origin.line - 1 : origin.last_line]
            copied_text = tokenizer.decode(span)
            assert copied_text.count("\n") - copied_text.endswith("\n") == origin.last_line - origin.line
            assert copied_text.removesuffix("\n") in "\n".join(lines)
            assert origin.spdx == ("MIT" if origin.path > "m" else None)
            checked += 1
    assert checked > 40


def test_what_is_new_is_called_new(files: dict[str, str], tokenizer: Tokenizer) -> None:
    memory = remembered(files, tokenizer)
    text = "zq = [9, 8, 7] # qqq\n" + next(iter(files.values()))[:300] + "zq = [7, 7] # qqz\n"
    ids = tokenizer.encode(text)
    found = parts(memory, tokenizer, ids, text)
    assert "".join(part["text"] for part in found) == text
    assert [part["text"] == text[part["begin"] : part["end"]] for part in found] == [True] * len(found)
    assert found[0]["origin"] is None
    assert found[-1]["origin"] is None
    assert any(part["origin"] and part["origin"]["path"] == next(iter(files)) for part in found)
    assert sum(part["tokens"] for part in found) == len(ids)
    lines = listing(found)
    assert len(lines) == len(found)
    assert lines[0].endswith(": new")
    assert any(f"{next(iter(files))}:1" in line and "no SPDX tag" in line for line in lines)


def test_text_that_was_torn_or_cut_keeps_its_places(files: dict[str, str], tokenizer: Tokenizer) -> None:
    memory = remembered(files, tokenizer)
    whole = next(iter(files.values()))[:400]
    ids = tokenizer.encode(whole)
    torn = min(2, len(tokenizer.token_bytes(ids[0])) - 1)
    text = whole[torn:-7]
    found = parts(memory, tokenizer, ids, text, torn)
    assert "".join(part["text"] for part in found) == text


def memorised_memory() -> Memory:
    """Of the one text that the memorised model knows; its gates have learned nothing."""
    loaded = memorised()
    ids = np.array(loaded.tokenizer.encode(TEXT))
    index = MemoryIndex.build([ids], loaded.tokenizer.end_of_text)
    return learn(index, gather(index, loaded.model, [ids[:50]]), [Source("walk.py", "python", "MIT")])[0]


def test_a_completion_says_where_it_is_from() -> None:
    completer = Completer(memorised(), memorised_memory())
    for cut in (80, 83, 150):
        done = completer.complete(TEXT[:cut], SamplingSettings(temperature=0))
        assert done.text == TEXT[cut:]
        (part,) = completer.provenance(done)
        assert (part["text"], part["begin"], part["end"]) == (done.text, 0, len(done.text))
        line = 1 + TEXT[:cut].count("\n")
        assert part["origin"] == {
            "path": "walk.py", "line": line, "last_line": TEXT.count("\n"), "spdx": "MIT", "others": 0,
        }  # fmt: skip


def test_a_model_without_a_memory_cannot_say_where_its_text_is_from() -> None:
    completer = Completer(memorised())
    with pytest.raises(InvalidInput, match="no memory"):
        completer.provenance(completer.complete("", SamplingSettings(temperature=0, max_tokens=3)))
