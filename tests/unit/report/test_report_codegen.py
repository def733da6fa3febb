"""What a program can judge of a completion."""

from __future__ import annotations

import pytest

from cllm.report.codegen import judged, repetition, run_tests, style


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("f(x):\n    return x + 1\n", True),
        ("return x\n" * 12, False),
        ("a b c d " * 20, False),
        ("0" * 60, False),
        ("x = " + "na" * 60, False),
        ("", None),
        (" \n\n", None),
    ],
)
def test_repetition(text: str, passed: bool | None) -> None:
    assert repetition(text).passed is passed


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("def f():\n    if x:\n        return 1\n", True),
        ("def f():\n    a\n   b\n", False),
        ("int f() {\n\treturn 1;\n}\n", True),
        ("int f() {\n\tint a;\n    int b;\n}\n", False),
        ("def f():\n \ta\n", False),
        ("def fn(a,\n       b):\n    return (a +\n           b)\n", True),  # aligned within brackets
        ("/*\n * note\n */\nint f() {\n  return 1;\n}\n", True),
        ("x = 1\n", None),
    ],
)
def test_style(text: str, passed: bool | None) -> None:
    assert style(text).passed is passed


def test_each_prompt_is_completed_and_judged_by_the_grammar_given() -> None:
    seen = []

    def syntax(language: str, prompt: str, completion: str) -> tuple[bool, str]:
        seen.append((language, prompt, completion))
        return "!" not in completion, "why"

    found = run_tests("c", lambda prompts: [p[::-1] + "!" * (p[0] == "v") for p in prompts], syntax)
    assert [c.syntax.passed for c in found] == [True, True, False, True]
    assert seen[0] == ("c", "int main() {", "{ )(niam tni")


def test_without_a_language_syntax_is_not_known() -> None:
    assert judged(None, "x", "y", lambda *_: (True, "")).syntax.passed is None
