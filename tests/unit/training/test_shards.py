"""From paths to token files: what is chosen, and what the ranks get."""

from __future__ import annotations

from pathlib import Path

import pytest

from cllm import events
from cllm.corpus import filters
from cllm.errors import EmptyCorpus
from cllm.runstore import RunStore
from cllm.settings import TrainSettings
from cllm.training.shards import Shards, write_shards
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


def test_nothing_chosen_is_one_line(tmp_path: Path, tiny_corpus: Path) -> None:
    run = RunDirectory(tmp_path)
    run.data.mkdir()
    with RunStore(run.store) as store, pytest.raises(EmptyCorpus, match="choose some files") as caught:
        write_shards(run, (tiny_corpus,), TrainSettings(), False, store, only=())
    assert "\n" not in str(caught.value)
