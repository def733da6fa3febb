"""All figures together: seen files, missing training data, and what the verdict says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cllm.checkpoint import LoadedModel
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.corpus.prepare import load, prepare
from cllm.corpus.textfile import Document
from cllm.errors import InvalidInput
from cllm.evaluation.evaluate import Baseline, evaluate, verdict_line
from cllm.evaluation.files import read_files
from cllm.evaluation.training_data import TrainingData, find_training_data, seen_in_training
from cllm.settings import EvaluateSettings
from tests.memorised import TEXT, memorised

QUIET = EvaluateSettings(completions=0)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory, tiny_corpus: Path) -> TrainingData:
    """A prepared corpus of 100 kB."""
    corpus = tmp_path_factory.mktemp("prepared") / "repo_code.txt"
    return TrainingData(corpus, prepare([tiny_corpus], corpus))


def one(text: str, path: str = "new.py") -> Document:
    return Document(path, text.encode(), "python")


def test_the_same_files_and_near_duplicates_are_seen_and_the_held_out_are_not(training: TrainingData) -> None:
    trained = list(load(training.corpus, "train"))
    longest = max(trained, key=lambda d: len(d.text))
    changed = longest.text.replace(b"return", b"return  # why", 3) + b"\n# one more line\n"
    documents = [trained[0], one(TEXT), Document("changed.py", changed, "python"), *load(training.corpus, "test")]
    assert seen_in_training(documents, training) == [0, 2]


def test_a_file_is_seen_although_its_secrets_were_redacted(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for n in range(40):
        text = f'alpha_{n}(beta_{n}, gamma_{n}, "AKIA{n:02d}OSFODNN7QWERTY")\n'  # once redacted, no near duplicate
        (tmp_path / "code" / f"m{n}.py").write_text(text)
    corpus = tmp_path / "repo_code.txt"
    manifest = prepare([tmp_path / "code"], corpus)
    assert any(f.redactions for f in manifest.files)
    documents = read_files([tmp_path / "code"]).documents
    seen = {Path(documents[i].path).name for i in seen_in_training(documents, TrainingData(corpus, manifest))}
    assert {f.path for f in manifest.included("train")} <= seen


def test_figures_beside_the_baselines(training: TrainingData) -> None:
    documents = training.split("test")
    stages: set[str] = set()
    found = evaluate(
        memorised(), documents, training=training, own_split=True, settings=EvaluateSettings(completions=4),
        progress=lambda stage, done, total: stages.add(stage),
    )  # fmt: skip
    assert found.bytes == sum(len(d.text) for d in documents) == sum(f.bytes for f in found.languages.values())
    assert (found.files, found.seen_in_training, found.held_out) == (len(documents), 0, True)
    assert found.baselines is not None
    assert [name for name in found.baselines if name != "zpaq"] == ["ppmd", "ppmd_each", "xz", "ngram", "xz_alone"]
    bits = {name: b.bits_per_byte for name, b in found.baselines.items()}
    assert 1 < bits["ppmd"] < bits["xz"] < bits["xz_alone"] < 4
    assert 1 < bits["ngram"] < found.bits_per_byte  # the network knows one text by heart and nothing else
    assert found.baselines["xz"].ratio == pytest.approx(bits["xz"] / found.bits_per_byte)
    assert found.verdict.startswith("not worth it: ")
    assert found.next_line is not None
    assert found.next_line.points == 4
    assert found.syntax is not None
    assert found.syntax.points == 2
    assert {"network", "next lines", "syntax", "baselines"} <= stages
    parsed = json.loads(found.as_json())
    assert {"bits_per_byte", "nats_per_token", "bytes", "tokens", "files"} <= parsed.keys()


def test_seen_files_are_left_out_or_taken_in_but_never_silently(training: TrainingData) -> None:
    trained = next(load(training.corpus, "train"))
    both = [trained, one(TEXT)]
    without = evaluate(memorised(), both, training=training, baselines=False, settings=QUIET)
    assert (without.files, without.seen_in_training, without.held_out) == (1, 1, True)
    assert without.bits_per_byte < 0.2
    assert without.seen == (trained.path,)
    assert "left out" in without.warnings[0]

    within = evaluate(memorised(), both, training=training, baselines=False, settings=QUIET, include_seen=True)
    assert (within.files, within.seen_in_training, within.held_out) == (2, 1, False)
    assert within.unseen is not None
    assert within.unseen.bits_per_byte == pytest.approx(without.bits_per_byte)
    assert within.verdict.startswith("no verdict: files that were trained on")
    assert "not held out" in within.warnings[0]

    only = evaluate(memorised(), [trained], training=training, baselines=False, settings=QUIET)
    assert (only.files, only.seen_in_training, only.held_out, only.unseen) == (1, 1, False, None)
    assert "not held out" in only.warnings[0]


def test_without_the_training_data_the_network_has_its_figures() -> None:
    found = evaluate(memorised(), [one(TEXT)], training_reason="it is gone", settings=QUIET)
    assert found.bits_per_byte < 0.2
    assert (found.baselines, found.baselines_reason, found.seen_in_training, found.held_out) == (
        None,
        "it is gone",
        None,
        None,
    )
    assert "it is gone" in found.warnings[0]


def test_no_documents_is_an_error() -> None:
    with pytest.raises(InvalidInput):
        evaluate(memorised(), [])


def trained_on(training: TrainingData, corpus: Path, run: str | None = None) -> LoadedModel:
    assert training.manifest is not None
    changes = {"corpus": str(corpus), "manifest_sha256": training.manifest.sha256, "run": run}
    return replace(memorised(), header=memorised().header.model_copy(update=changes))


def test_training_data_are_found_and_checked(training: TrainingData, tmp_path: Path) -> None:
    header = trained_on(training, training.corpus).header
    model = tmp_path / "models" / "m.cllm"
    assert find_training_data(header, model).corpus == training.corpus

    moved = tmp_path / "runs" / "r1" / "data" / "repo_code.txt"
    moved.parent.mkdir(parents=True)
    moved.write_bytes(training.corpus.read_bytes())
    assert training.manifest is not None
    training.manifest.save(manifest_path(moved))
    gone = trained_on(training, tmp_path / "gone.txt", run="r1").header
    assert find_training_data(gone, model).corpus == moved
    assert find_training_data(gone, tmp_path / "runs" / "r1" / "checkpoints" / "c.cllm").corpus == moved

    moved.write_bytes(training.corpus.read_bytes() + b"\n")
    with pytest.raises(InvalidInput, match="no longer there"):
        find_training_data(gone, model)
    with pytest.raises(InvalidInput, match="were changed"):
        find_training_data(trained_on(training, moved).header, tmp_path / "else" / "m.cllm")
    another = tmp_path / "another.txt"
    (tmp_path / "code.py").write_text(TEXT)
    prepare([tmp_path / "code.py"], another)
    with pytest.raises(InvalidInput, match="were changed"):
        find_training_data(trained_on(training, another).header, tmp_path / "else" / "m.cllm")
    with pytest.raises(InvalidInput, match="does not match"):
        find_training_data(gone, model, moved)
    with pytest.raises(InvalidInput, match="does not name"):
        find_training_data(memorised().header, model)
    with pytest.raises(InvalidInput, match="cannot be read"):
        find_training_data(gone, model, tmp_path / "nothing.txt")


def test_training_data_that_are_given(training: TrainingData, tmp_path: Path) -> None:
    plain = tmp_path / "all.txt"
    plain.write_text(TEXT)
    given = find_training_data(memorised().header, tmp_path / "m.cllm", plain)
    assert given.manifest is None
    assert [d.text.decode() for d in given.train()] == [TEXT]
    with pytest.raises(InvalidInput, match="no test split"):
        given.split("test")
    again = find_training_data(memorised().header, tmp_path / "m.cllm", training.corpus)
    assert isinstance(again.manifest, Manifest)
    assert {d.path for d in again.train()}.isdisjoint(d.path for d in again.split("test"))


@pytest.mark.parametrize(
    ("network", "held_out", "words"),
    [
        (1.5, True, "not worth it: P reaches 1.200"),
        (0.9, True, "worth it: 25.0 % fewer bits than P"),
        (0.9, None, "worth it"),
        (0.9, False, "no verdict"),
    ],
)
def test_the_verdict(network: float, held_out: bool | None, words: str) -> None:
    baselines = {n: Baseline(name=n, bits_per_byte=b, ratio=b / network) for n, b in (("X", 1.4), ("P", 1.2))}
    assert verdict_line(network, baselines, held_out).startswith(words)
    assert verdict_line(network, None, True).startswith("no verdict")


def test_the_verdict_is_on_the_mixture_where_there_is_one() -> None:
    zpaq = {"zpaq": Baseline(name="zpaq", bits_per_byte=1.0, ratio=1.0)}
    assert verdict_line(1.4, zpaq, True, 0.8).startswith(
        "worth it: the network with its memory needs 20.0 % fewer bits"
    )
    assert verdict_line(0.9, zpaq, True, 1.2).startswith("not worth it: zpaq reaches 1.000")
