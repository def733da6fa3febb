"""Whether completions parse: C and Python, by tree-sitter's grammars, which are bundled and need no compiler.

A completion that was cut off by its token limit can only be judged up to its last whole statement, and a prompt
that stops in the middle of a function has open blocks. So both are cut at their last statement end, what is open there
is closed (`}`, `#endif`, ...), and the completion is valid if it adds at least one whole statement and the text
with it has no more errors (ERROR and MISSING nodes; in Python also forbidden indentation, which the grammar of
tree-sitter lets pass) than the text without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from typing import NamedTuple

import tree_sitter
from tree_sitter_language_pack import get_parser

from cllm.corpus.textfile import Document
from cllm.evaluation.completion import complete_points
from cllm.evaluation.points import Point, draw, has_content
from cllm.evaluation.scan import Language, compiled, scan
from cllm.inference.completer import Completer
from cllm.settings import SamplingSettings

SYNTAX_TOKENS = 48
_LONGEST = 1 << 16  # characters of a file: parsing it anew for each completion must stay cheap
_LANGUAGES: dict[str, Language] = {".py": "python", ".pyi": "python", ".c": "c", ".h": "c"}


class Verdict(NamedTuple):
    """Whether a completion is valid, and why not."""

    valid: bool
    why: str


UNFINISHED = Verdict(False, "no whole statement")


@dataclass(frozen=True)
class Validity:
    """Shares from 0 to 1 of the points; `true_share` is of the files' own continuations, as a check of the measure."""

    points: int
    share: float
    true_share: float


class _Fault(NamedTuple):
    """An error in a text; `begin` and `end` are in bytes."""

    begin: int
    end: int
    what: str


def language_of(path: str | PurePath) -> Language | None:
    """The language by a file's name, if its syntax can be judged."""
    return _LANGUAGES.get(PurePath(path).suffix)


@cache
def _parser(language: Language) -> tree_sitter.Parser:
    return get_parser(language)


def _faults(language: Language, text: str, closers: str) -> list[_Fault]:
    """The errors in `text`, in their order, when it is closed by `closers`."""
    data = (text + closers).encode()
    faults = [
        _Fault(len(text[:at].encode()), len(data), "wrong indentation") for at in scan(language, text).misindented
    ]
    nodes = [_parser(language).parse(data).root_node]
    while nodes:
        node = nodes.pop()
        if node.is_missing:
            faults.append(_Fault(node.start_byte, node.end_byte, f"{node.type!r} is missing"))
        elif node.is_error:
            near = data[node.start_byte : node.end_byte].decode(errors="replace").strip().split("\n")[0][:40]
            faults.append(_Fault(node.start_byte, node.end_byte, f"{near!r} does not parse"))
        if node.has_error:
            nodes.extend(node.children)
    return sorted(faults)


def verdict(language: Language, prompt: str, completion: str) -> Verdict:
    """Judge `completion` of `prompt`, the text from the beginning of the file; `why` is one short phrase.

    The last line of a completion of several lines is taken as cut off; a single line stands as it is.
    """
    text = prompt + completion
    text = compiled(language, text[: text.rfind("\n") + 1] if "\n" in completion else text + "\n")
    prompt = text[: len(prompt)]
    after = scan(language, text)
    end = after.ends[-1] if after.ends else 0
    if not text[len(prompt) : end].strip():
        return UNFINISHED
    before = scan(language, prompt)
    start = before.ends[-1] if before.ends else 0
    allowed = len(_faults(language, prompt[:start], before.closers))
    faults = _faults(language, text[:end], after.closers)
    if len(faults) <= allowed:
        return Verdict(True, "parses")
    own = len(prompt.encode())
    fault = next((f for f in faults if f.end > own), faults[-1])
    line = text[:end].encode()[own : max(own, fault.begin)].count(b"\n") + 1
    return Verdict(False, f"line {line}: {fault.what}")


def _statement_starts(document: Document, text: str) -> Iterator[int]:
    """Offsets after whole statements where a line with content follows."""
    language = _judged_as(document)
    if language is not None and len(text) <= _LONGEST:
        for offset in scan(language, text).ends:
            line_end = text.find("\n", offset)
            if has_content(text[offset : line_end if line_end >= 0 else len(text)]):
                yield offset


def _judged_as(document: Document) -> Language | None:
    if document.language in {"python", "c"}:
        return "python" if document.language == "python" else "c"
    return language_of(document.path)


def _decidable(point: Point, language: Language, true: str) -> bool:
    """Whether the file parses up to the point, and its own continuation is long enough to be judged."""
    text = compiled(language, point.before)
    return (
        not _faults(language, text, scan(language, text).closers)
        and verdict(language, point.before, true) != UNFINISHED
    )


def validity(
    completer: Completer,
    documents: Sequence[Document],
    count: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Validity | None:
    """The model goes on greedily for 48 tokens after whole statements of C and Python files that parse so far.

    The files' own continuations are cut at 48 tokens too, and only places where a statement ends within them are
    used. None if there is no such place.
    """
    tokenizer = completer.tokenizer
    chosen: list[tuple[Point, Language, str]] = []
    for point in draw(documents, _statement_starts, 4 * count, seed):
        language = _judged_as(point.document)
        true = tokenizer.decode(tokenizer.encode(point.after[: 64 * SYNTAX_TOKENS])[:SYNTAX_TOKENS])
        if language is not None and _decidable(point, language, true):
            chosen.append((point, language, true))
        if len(chosen) == count:
            break
    if not chosen:
        return None
    settings = SamplingSettings(temperature=0, dry_multiplier=0, max_tokens=SYNTAX_TOKENS, seed=0)
    written = complete_points(completer, [point for point, _, _ in chosen], settings, progress)

    def share(texts: list[str]) -> float:
        verdicts = [verdict(language, p.before, text) for (p, language, _), text in zip(chosen, texts, strict=True)]
        return sum(v.valid for v in verdicts) / len(verdicts)

    return Validity(len(chosen), share(written), share([true for _, _, true in chosen]))
