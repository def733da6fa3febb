"""Backing up over the end of a prompt, and which tokens may then follow."""

from __future__ import annotations

import pytest

from cllm.inference.healing import TokenIndex

TOKENS = [
    b"",
    b"i",
    b"m",
    b"p",
    b"o",
    b" ",
    b"(",
    b")",
    b"im",
    b"import",
    b"imp",
    b"  ",
    b"   ",
    b" x",
    b"()",
    b"\xc3",
    b"\xa9",
]
INDEX = TokenIndex(TOKENS)


def texts(ids: list[int]) -> set[bytes]:
    return {TOKENS[token] for token in ids}


def test_tokens_by_their_beginning() -> None:
    assert texts(INDEX.beginning_with(b"im")) == {b"im", b"imp", b"import"}
    assert texts(INDEX.beginning_with(b"x")) == set()
    assert texts(INDEX.beginning_with(b"\xc3")) == {b"\xc3"}


def test_what_agrees_with_removed_bytes_extends_them_or_begins_them() -> None:
    assert texts(INDEX.agreeing_with(b"impo")) == {b"import", b"i", b"im", b"imp"}
    assert texts(INDEX.agreeing_with(b"ox")) == {b"o"}
    assert texts(INDEX.agreeing_with(b"im")) == {b"i", b"im", b"imp", b"import"}


@pytest.mark.parametrize(
    ("pieces", "count"),
    [
        ([b"imp", b"o"], 2),  # import
        ([b"x", b"i", b"m"], 2),
        ([b"o", b"o"], 0),  # no longer token begins with o
        ([b"import"], 0),  # complete, and nothing longer begins so
        ([b")", b"   "], 1),  # the last space may belong to " x", though no token begins with three spaces
        ([b"import", b"("], 1),
        ([b"\xc3", b"\xa9"], 0),
        ([], 0),
    ],
)
def test_how_far_a_prompt_is_backed_up(pieces: list[bytes], count: int) -> None:
    assert INDEX.back_up(pieces) == count
