"""Completing the next line, as an editor asks for it: how often exactly right, and how similar otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cllm.corpus.textfile import Document
from cllm.evaluation.points import Point, draw, line_starts
from cllm.inference.completer import Completer
from cllm.settings import SamplingSettings

LINE_TOKENS = 96
_GROUP = 32  # prompts between two reports of progress


@dataclass(frozen=True)
class NextLine:
    """Shares and similarities are from 0 to 1; without points there are none."""

    points: int
    exact_match: float
    edit_similarity: float


def levenshtein(a: str, b: str) -> int:
    """The least number of characters to insert, delete or replace to make `b` of `a` (Wagner & Fischer 1974)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def edit_similarity(a: str, b: str) -> float:
    """1 for equal strings, 0 for nothing in common: 1 - distance / length of the longer one."""
    longer = max(len(a), len(b))
    return 1 - levenshtein(a, b) / longer if longer else 1.0


def complete_points(
    completer: Completer,
    points: Sequence[Point],
    settings: SamplingSettings,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """What the model writes at each point. Points begin a line, so no token is torn and none is healed."""
    texts: list[str] = []
    for first in range(0, len(points), _GROUP):
        prompts = [point.prompt(completer.context) for point in points[first : first + _GROUP]]
        texts += [c.text for c in completer.complete_many(prompts, settings, heal=False)]
        if progress is not None:
            progress(len(texts), len(points))
    return texts


def next_line(
    completer: Completer,
    documents: Sequence[Document],
    count: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> NextLine | None:
    """The model writes whole lines with content, greedily, each from all that stands before it in its file.

    White space at the end of a line does not count; its indentation does. None if no file has such a line.
    """
    points = list(draw(documents, lambda _, text: line_starts(text), count, seed))
    if not points:
        return None
    written = complete_points(
        completer,
        points,
        SamplingSettings(temperature=0, dry_multiplier=0, max_tokens=LINE_TOKENS, stop=("\n",), seed=0),
        progress,
    )
    pairs = [
        (line.rstrip(), point.after.split("\n", 1)[0].rstrip()) for line, point in zip(written, points, strict=True)
    ]
    return NextLine(
        points=len(pairs),
        exact_match=sum(a == b for a, b in pairs) / len(pairs),
        edit_similarity=sum(edit_similarity(a, b) for a, b in pairs) / len(pairs),
    )
