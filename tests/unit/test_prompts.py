"""Prompts by language."""

from __future__ import annotations

from cllm.prompts import GUIDE_PROMPTS, OTHER_PROMPTS, main_language, prompts_for


def test_prompts_follow_the_language() -> None:
    assert prompts_for("c") == prompts_for("c++") == GUIDE_PROMPTS
    assert prompts_for("python")[0] == "def "
    assert prompts_for("rust") == prompts_for(None) == OTHER_PROMPTS


def test_headers_count_as_c() -> None:
    assert main_language({"python": 10, "c": 6, "header": 6}) == "c"
    assert main_language({}) is None
