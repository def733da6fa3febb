"""Completions of held-out files with and without drafts, of the mixture and of the network alone, and what is copied.

The files are the model's own test split. Each is cut at lines spread over it, and continued from there, in all ways in
turn. A model that repeats itself is drafted well; so the same is told for completions of temperature 0.7, too.

    python -m benchmarks.drafts MODEL.cllm
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.measure import table, write_results
from cllm.checkpoint import load_model
from cllm.corpus.documents import load
from cllm.inference.completer import Completer, Completion
from cllm.memory.provenance import LEAST, copied
from cllm.memory.store import load_memory
from cllm.settings import SamplingSettings

SWITCH: tuple[Literal["off", "on"], ...] = ("off", "on")
WAYS = [(memory, temperature, drafts) for temperature in (0.0, 0.7) for memory in SWITCH for drafts in SWITCH]


@dataclass
class Sum:
    """Of all completions made in one way."""

    decoded: int = 0
    seconds: float = 0.0
    passes: int = 0
    copied: int = 0
    tokens: int = 0

    @property
    def rate(self) -> float:
        """Tokens/s."""
        return self.decoded / self.seconds


def prompts(texts: Sequence[str], each: int) -> list[tuple[str, str]]:
    """(before, after) of `each` line starts in every text, evenly spread over its later two thirds."""
    found = []
    for text in texts:
        for number in range(each):
            cut = text.rfind("\n", 0, len(text) // 3 + number * len(text) // (3 * each) * 2) + 1
            if cut and len(text) - cut > 200:
                found.append((text[:cut], text[cut:]))
    return found


def measure(completer: Completer, points: Sequence[tuple[str, str]], tokens: int) -> dict[str, Any]:
    """The sums of every way, how often drafts left the text as it was, and what is copied in people's own text."""
    assert completer.memory is not None
    index = completer.memory.index
    sums = {way: Sum() for way in WAYS}
    human = Sum()
    same: dict[tuple[str, float], list[bool]] = {}
    ratios: list[float] = []
    completer.complete("", SamplingSettings(max_tokens=20))  # what is made on first use
    for number, (before, after) in enumerate(points):
        done: dict[tuple[str, float, str], Completion] = {}
        for way in WAYS:
            memory, temperature, drafts = way
            settings = SamplingSettings(
                temperature=temperature, memory=memory, drafts=drafts, max_tokens=tokens, seed=number
            )
            c = done[way] = completer.complete(before, settings, heal=False)
            total = sums[way]
            total.decoded, total.seconds = total.decoded + c.decoded, total.seconds + c.decode_s
            total.passes, total.tokens = total.passes + c.passes, total.tokens + c.tokens
            total.copied += int(copied(index, c.ids).sum())
        for memory in ("off", "on"):
            for temperature in (0.0, 0.7):
                equal = done[memory, temperature, "off"].text == done[memory, temperature, "on"].text
                same.setdefault((memory, temperature), []).append(equal)
        if done["on", 0.0, "off"].decoded:
            ratios.append(done["on", 0.0, "on"].tokens_per_s / done["on", 0.0, "off"].tokens_per_s)
        ids = completer.tokenizer.encode(after[: 20 * tokens])[:tokens]
        human.tokens, human.copied = human.tokens + len(ids), human.copied + int(copied(index, ids).sum())
    return {"sums": sums, "human": human, "same": same, "ratios": ratios}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drafts", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="a .cllm file with a memory, whose training data are still there")
    parser.add_argument("--files", type=int, default=12, help="of the test split, at most; default: 12")
    parser.add_argument("--each", type=int, default=2, help="completions of each file; default: 2")
    parser.add_argument("--tokens", type=int, default=128, help="of a completion; default: 128")
    parser.add_argument("--out", type=Path, default=Path("artefacts/benchmarks"), help="default: artefacts/benchmarks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    loaded, memory = load_model(arguments.model), load_memory(arguments.model)
    if memory is None or loaded.header.corpus is None:
        sys.exit(f"{arguments.model} has no memory: train one with 'cllm train'")
    documents = sorted(load(Path(loaded.header.corpus), "test"), key=lambda d: d.path)
    step = max(1, len(documents) // arguments.files)
    texts = [d.text.decode() for d in documents if len(d.text) > 2000][::step][: arguments.files]
    points = prompts(texts, arguments.each)
    found = measure(Completer(loaded, memory), points, arguments.tokens)
    sums, human = found["sums"], found["human"]

    rows = []
    for way, total in sums.items():
        memory_, temperature, drafts = way
        base = sums[memory_, temperature, "off"]
        rows.append(
            [
                "mixture" if memory_ == "on" else "network",
                "greedy" if not temperature else f"temperature {temperature}",
                drafts, f"{total.rate:,.0f}", f"{total.rate / base.rate:.2f}", f"{total.decoded / total.passes:.2f}",
                f"{100 * total.copied / total.tokens:.0f} %",
            ]
        )  # fmt: skip
    text = table(
        ["Drawn from", "How", "Drafts", "tokens/s", "times", "tokens a pass", f"copied ({LEAST} tokens)"], rows
    )
    ratios = found["ratios"]
    shape = loaded.model.config
    speed = sums["on", 0.0, "off"].rate / sums["off", 0.0, "off"].rate
    text += (
        f"\nMixture without drafts against network: {speed:.2f} times its speed, greedy; "
        f"{sums['on', 0.7, 'off'].rate / sums['off', 0.7, 'off'].rate:.2f} at temperature 0.7.\n"
        f"Drafts, mixture, greedy, median of {len(ratios)} completions: {statistics.median(ratios):.2f} times "
        f"({min(ratios):.2f} to {max(ratios):.2f}).\n"
        f"What people wrote there: {100 * human.copied / human.tokens:.0f} % copied, by the same measure.\n"
        "The same text with drafts as without: "
        + ", ".join(
            f"{'mixture' if m == 'on' else 'network'} at {t}: {sum(equal)} of {len(equal)}"
            for (m, t), equal in found["same"].items()
        )
        + ".\n"
        f"Model: {shape.layers}x{shape.width}, vocabulary {shape.vocabulary}; "
        f"{len(points)} completions of {arguments.tokens} tokens, {len(texts)} files.\n"
    )
    results = {
        "ways": {" ".join(map(str, way)): vars(total) for way, total in sums.items()},
        "human": vars(human), "ratios": ratios,
    }  # fmt: skip
    write_results(arguments.out, "drafts", "python -m benchmarks.drafts " + " ".join(sys.argv[1:]), results, text)


if __name__ == "__main__":
    main()
