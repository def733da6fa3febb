"""What compressors and an n-gram model make of the same held-out files, given the training files."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence

from cllm.checkpoint import LoadedModel
from cllm.corpus.textfile import Document
from cllm.evaluation.compressors import ZPAQ_MOST_S, conditional_zpaq_bytes, each_ppmd_bytes, run_compressors
from cllm.evaluation.ngram import NGram
from cllm.evaluation.training_data import TrainingData

MAX_TRAINING_BYTES = 64 << 20  # that the baselines are given
Progress = Callable[[str, int, int], None]

NAMES = {
    "ppmd": "PPMd given the training files",
    "ppmd_each": "PPMd given the training files, each file alone",
    "zpaq": "zpaq -m5 given the training files",
    "xz": "xz given the training files",
    "ngram": "a token 5-gram of the training files",
    "xz_alone": "xz without the training files",
}


def run_baselines(
    loaded: LoadedModel,
    documents: Sequence[Document],
    ids: Sequence[Sequence[int]],
    training: TrainingData,
    progress: Progress,
    warnings: list[str],
) -> tuple[dict[str, float], int]:
    """Bits per byte of `documents` (tokens `ids`) by name, and how many bytes of training text were used.

    Adds to `warnings` what was left out because it took too long.
    """
    texts: list[bytes] = []
    size = 0
    for document in training.train():
        if size >= MAX_TRAINING_BYTES:
            break
        texts.append(document.text)
        size += len(document.text)
    bits = {}
    known, held_out = b"".join(texts), b"".join(d.text for d in documents)
    done = 0

    def one_done(_name: str) -> None:
        nonlocal done
        done += 1
        progress("baselines", done, 5)

    progress("baselines", 0, 5)
    sizes: dict[str, int] = run_compressors(known, held_out, one_done)
    sizes["ppmd_each"] = sum(each_ppmd_bytes(known, [d.text for d in documents]))
    one_done("ppmd_each")
    progress("zpaq", 0, 0)  # the slowest by far
    try:
        if (zpaq := conditional_zpaq_bytes(known, held_out)) is not None:
            sizes["zpaq"] = zpaq
    except subprocess.TimeoutExpired:
        warnings.append(f"zpaq is left out: it took more than {ZPAQ_MOST_S / 60:g} minutes")
    progress("zpaq", 1, 1)
    bits.update({name: 8.0 * n for name, n in sizes.items()})
    tokenizer = loaded.tokenizer
    trained = NGram.train(
        tokenizer.encode_batch([t.decode() for t in texts]), loaded.model.config.vocabulary, tokenizer.end_of_text
    )
    bits["ngram"] = trained.nats(ids) / math.log(2)
    one_done("ngram")
    return {name: bits[name] / len(held_out) for name in NAMES if name in bits}, size
