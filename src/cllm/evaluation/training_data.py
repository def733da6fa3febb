"""The text a model was trained on: for the baselines, and to tell which files it has already seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cllm.container import Header
from cllm.corpus import dedup
from cllm.corpus.documents import load, stored_manifest
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.corpus.redact import redact
from cllm.corpus.textfile import Document
from cllm.errors import InvalidInput
from cllm.workspace import RunDirectory


@dataclass(frozen=True)
class TrainingData:
    """A prepared corpus. Without a manifest there are no splits, and all of it counts as trained on."""

    corpus: Path
    manifest: Manifest | None

    def train(self) -> Iterator[Document]:
        """The documents that were trained on. Raises `InvalidInput` if the corpus was changed."""
        return load(self.corpus, None if self.manifest is None else "train")

    def split(self, name: str) -> list[Document]:
        """The documents of "validation" or "test". Raises `InvalidInput` if there are none."""
        documents = [] if self.manifest is None else list(load(self.corpus, name))
        if not documents:
            raise InvalidInput(f"{self.corpus} has no {name} split: give files or directories to evaluate on")
        return documents


def find_training_data(header: Header, model: Path, given: Path | None = None) -> TrainingData:
    """The corpus of a model, or `given` instead. Raises `InvalidInput`, which says why there is none."""
    if given is not None:
        manifest = stored_manifest(given)
        if manifest is None and manifest_path(given).exists():
            raise InvalidInput(f"{given} does not match its manifest: run 'cllm prepare' anew")
        next(load(given, None), None)
        return TrainingData(given, manifest)
    if header.corpus is None:
        raise InvalidInput("the model does not name its training data: give them with --training-data")
    candidates = [Path(header.corpus), RunDirectory(model.resolve().parents[1]).corpus]
    if header.run is not None:
        candidates.append(RunDirectory(model.resolve().parents[1] / "runs" / header.run).corpus)
    for corpus in candidates:
        if corpus.is_file():
            manifest = stored_manifest(corpus)
            if manifest is not None and manifest.sha256 == header.manifest_sha256:
                return TrainingData(corpus, manifest)
    changed = Path(header.corpus).is_file()
    raise InvalidInput(
        f"the training data {header.corpus} {'were changed since' if changed else 'are no longer there'}: "
        "give them with --training-data"
    )


def nearest_in_training(documents: Sequence[Document], training: TrainingData) -> list[float]:
    """For each of `documents` the largest estimated Jaccard index with a training file (`cllm.corpus.dedup`)."""
    rows = dedup.signatures([d.text for d in documents])
    nearest = np.zeros(len(documents))
    texts: list[bytes] = []

    def compare() -> None:
        for signature in dedup.signatures(texts):
            np.maximum(nearest, (rows == signature).mean(axis=1), out=nearest)
        texts.clear()

    for document in training.train():
        texts.append(document.text)
        if len(texts) == 256:
            compare()
    compare()
    return [float(value) for value in nearest]


def seen_in_training(documents: Sequence[Document], training: TrainingData) -> list[int]:
    """Which of `documents` are in the training files: the same, the same but for redacted secrets, or near duplicates.

    Near duplicates have an estimated Jaccard index of at least 0.75 (`cllm.corpus.dedup`).
    """
    digests: set[str] = set()
    texts: list[bytes] = []
    rows = []
    for document in training.train():
        digests.add(hashlib.sha256(document.text).hexdigest())
        texts.append(document.text)
        if len(texts) == 256:
            rows.append(dedup.signatures(texts))
            texts = []
    rows.append(dedup.signatures(texts))
    count = sum(map(len, rows))
    rows.append(dedup.signatures([d.text for d in documents]))
    near = {
        j - count
        for i, j, estimate in dedup.similar_pairs(np.concatenate(rows))
        if i < count <= j and estimate >= dedup.NEAR_DUPLICATE
    }

    def same(text: bytes) -> bool:
        return any(hashlib.sha256(t).hexdigest() in digests for t in (text, redact(text.decode())[0].encode()))

    return [i for i, document in enumerate(documents) if i in near or same(document.text)]
