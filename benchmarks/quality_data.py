"""A corpus prepared for other trainers, as `cllm train` prepares it, and the held-out figure of what they have made."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.corpora import Corpus
from cllm.corpus.documents import load
from cllm.corpus.manifest import Manifest, manifest_path
from cllm.corpus.prepare import prepare
from cllm.evaluation.likelihood import Likelihood, Tokens, likelihoods
from cllm.machine import usable_cores
from cllm.storage import write_bytes, write_json
from cllm.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prepared:
    """Text, manifest, tokenizer and training tokens of a corpus."""

    corpus: Corpus
    directory: Path
    vocabulary: int
    seconds: float
    """What preparing took, scan to tokens."""

    @property
    def text(self) -> Path:
        return self.directory / "repo_code.txt"

    @property
    def tokens(self) -> Path:
        return self.directory / "train_tokens.npy"

    @property
    def splits_sha256(self) -> str:
        return splits_sha256(self.text)

    def joined(self, split: str) -> bytes:
        """The texts of a split, one after another in the corpus's order."""
        return b"".join(document.text for document in load(self.text, split))


def splits_sha256(text: Path) -> str:
    """A digest of which contents are in which split."""
    included = Manifest.load(manifest_path(text)).included()
    lines = sorted(f"{entry.split} {entry.sha256}\n" for entry in included)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def prepared(corpus: Corpus, work: Path, vocabulary: int) -> Prepared:
    """Prepare `corpus` below `work`, or take what is there."""
    directory = work / f"prepared-{vocabulary}"
    facts = directory / "prepared.json"  # written last
    if not facts.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        begun = time.time()
        stdlib = "--stdlib" in corpus.arguments
        text = directory / "repo_code.txt"
        prepare([Path(a) for a in corpus.arguments if not a.startswith("--")], text, stdlib=stdlib)
        tokenizer = Tokenizer.train((d.text.decode() for d in load(text, "train")), vocabulary)
        write_bytes(directory / "tokenizer.json", tokenizer.to_json().encode())
        parts = tokenizer.encode_batch([d.text.decode() for d in load(text, "train")])
        joined = [np.asarray([tokenizer.end_of_text, *ids], dtype=np.uint16) for ids in parts]
        np.save(directory / "train_tokens.npy", np.concatenate(joined), allow_pickle=False)
        write_json(facts, {"seconds": time.time() - begun, "vocabulary": tokenizer.vocabulary})
    stored = json.loads(facts.read_text())
    return Prepared(corpus, directory, stored["vocabulary"], stored["seconds"])


def loop_bits_per_byte(gpt: Any, data: Prepared, split: str) -> Likelihood:
    """What `cllm evaluate` would give for a model that has `config`, `hidden` and `logits`: its own function."""
    tokenizer = Tokenizer.from_json((data.directory / "tokenizer.json").read_text())
    documents = list(load(data.text, split))
    ids = tokenizer.encode_batch([d.text.decode() for d in documents])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = likelihoods(
            gpt,
            [Tokens(t, len(d.text)) for t, d in zip(ids, documents, strict=True)],
            tokenizer.end_of_text,
            workers=usable_cores(),
        )
    finally:
        torch.set_num_threads(threads)
    return sum(found, Likelihood(0.0, 0, 0))
