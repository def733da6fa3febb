"""The guide's code generation tests: completions at temperature 0, and what a program can judge of them.

Whether the code means what its comment says is for a person; syntax, repetition and style are computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from math import gcd

from cllm.prompts import prompts_for
from cllm.report.figures import Completion, Verdict

MAX_TOKENS = 128
REPETITIVE = 0.5  # a share of repeated lines or 4-grams above this is a model that turns in circles

Complete = Callable[[Sequence[str]], Sequence[str]]  # the continuations of prompts, greedy
Syntax = Callable[[str, str, str], tuple[bool | None, str]]  # (language, prompt, completion) -> (valid, why)


def run_tests(language: str | None, complete: Complete, syntax: Syntax) -> tuple[Completion, ...]:
    """Complete the prompts of `language` and judge each completion."""
    prompts = prompts_for(language)
    return tuple(
        judged(language, prompt, text, syntax) for prompt, text in zip(prompts, complete(prompts), strict=True)
    )


def judged(language: str | None, prompt: str, text: str, syntax: Syntax) -> Completion:
    """The three verdicts on one completion."""
    valid, why = syntax(language, prompt, text) if language else (None, "no language to parse it in")
    return Completion(
        prompt=prompt,
        text=text,
        syntax=Verdict(name="Syntax", passed=valid, figure=why or ("valid" if valid else "not valid")),
        repetition=repetition(text),
        style=style(prompt + text),
    )


def repetition(text: str) -> Verdict:
    """Shares of lines, and of 4-grams of words and signs, that were there before."""
    words = re.findall(r"[^\W\d_]{1,8}|[\d_]|[^\w\s]", text)  # a row of zeros is a row, not one long word
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    line_share = repeated_share(lines)
    gram_share = repeated_share(list(zip(words, words[1:], words[2:], words[3:], strict=False)))
    figure = f"{line_share:.0%} of lines, {gram_share:.0%} of 4-grams repeated"
    if not words:
        return Verdict(name="Repetition", passed=None, figure="nothing was generated")
    return Verdict(name="Repetition", passed=max(line_share, gram_share) <= REPETITIVE, figure=figure)


def repeated_share(items: Sequence[object]) -> float:
    """The share of items that occurred before in the sequence."""
    return 1 - len(set(items)) / len(items) if items else 0.0


def style(text: str) -> Verdict:
    """Whether the code is indented in one way: tabs or spaces, and spaces in steps of one width of at least 2."""
    indents = list(_indents(text.splitlines()))
    if not indents:
        return Verdict(name="Style", passed=None, figure="no indented line")
    if any(" " in indent and "\t" in indent for indent in indents) or len({indent[0] for indent in indents}) > 1:
        return Verdict(name="Style", passed=False, figure="tabs and spaces are mixed")
    if indents[0][0] == "\t":
        return Verdict(name="Style", passed=True, figure="indented with tabs")
    width = gcd(*(len(indent) for indent in indents))
    figure = f"indented in steps of {width} space{'s' if width > 1 else ''}"
    return Verdict(name="Style", passed=width > 1, figure=figure)


def _indents(lines: Iterable[str]) -> Iterable[str]:
    """The indents of lines that begin a statement: in brackets and in block comments lines are aligned freely."""
    depth = 0
    for line in lines:
        code = line.strip()
        if code and depth == 0 and line[0] in " \t" and not code.startswith("*"):
            yield line[: len(line) - len(line.lstrip(" \t"))]
        depth = max(0, depth + sum(code.count(sign) for sign in "([") - sum(code.count(sign) for sign in ")]"))
