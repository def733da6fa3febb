"""From paths to token files: what is chosen, and what the ranks get."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm import events
from cllm.corpus import filters, parallel
from cllm.corpus.manifest import FileEntry
from cllm.corpus.prepare import Document
from cllm.errors import EmptyCorpus
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.tokenizer import Tokenizer
from cllm.training.shards import Shards, encode, even_choice, write_shards
from cllm.workspace import RunDirectory


def test_only_the_chosen_files_reach_the_ranks(tmp_path: Path, tiny_corpus: Path) -> None:
    run = RunDirectory(tmp_path)
    run.data.mkdir()
    names = sorted(path.name for path in tiny_corpus.iterdir())
    settings = TrainSettings(vocabulary=512)
    with RunStore(run.store) as store:
        write_shards(run, (tiny_corpus,), settings, False, store, only=names[:9])
        told = store.last(events.CORPUS)
    assert told is not None
    assert told.data["left_out"][filters.NOT_CHOSEN] == len(names) - 9
    shards = Shards.load(run)
    assert shards.facts["files"] + sum(told.data["left_out"].values()) == len(names)
    assert shards.facts["tokens"] == sum(shards.train.counts) > 0
    assert 0.1 < shards.facts["ppmd_bits_per_byte"] < 8


def test_nothing_chosen_is_one_line(tmp_path: Path, tiny_corpus: Path) -> None:
    run = RunDirectory(tmp_path)
    run.data.mkdir()
    with RunStore(run.store) as store, pytest.raises(EmptyCorpus, match="choose some files") as caught:
        write_shards(run, (tiny_corpus,), TrainSettings(), False, store, only=())
    assert "\n" not in str(caught.value)


def entries(*sizes: int) -> list[FileEntry]:
    return [
        FileEntry(path=f"{n}.py", size=size, language="python", split="train", sha256=f"{n * 7919 % 1000:064d}")
        for n, size in enumerate(sizes)
    ]


def test_all_files_are_chosen_while_they_are_few() -> None:
    assert even_choice(entries(10, 20, 30), 60) == {"0.py", "1.py", "2.py"}


def test_of_many_files_an_even_choice_is_made() -> None:
    files = entries(*[10] * 500)
    chosen = even_choice(files, 1000)
    assert len(chosen) == 100
    assert even_choice(files[::-1], 1000) == chosen  # by what is in the files, not by their order
    assert 30 < sum(int(path[:-3]) < 250 for path in chosen) < 70
    assert len(even_choice(files[1:], 1000) & chosen) >= 99  # a file more or less changes little


def test_a_file_that_is_too_large_alone_is_taken_all_the_same() -> None:
    assert even_choice(entries(5000), 1000) == {"0.py"}


def test_processes_encode_to_the_same_tokens(tiny_corpus: Path) -> None:
    documents = [Document(p.name, p.read_bytes(), "python") for p in sorted(tiny_corpus.iterdir())]
    tokenizer = Tokenizer.train((d.text.decode() for d in documents), 600)
    here, there = (encode(iter(documents), tokenizer, size) for size in (0, parallel.LEAST_BYTES))
    assert here.tokens.tolist() == there.tokens.tolist()
    assert here.offsets.tolist() == there.offsets.tolist()
    assert here.counts == [len(tokenizer.encode(d.text.decode())) for d in documents]
