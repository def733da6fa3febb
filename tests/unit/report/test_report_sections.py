"""The parts of a report as data: figures in words."""

from __future__ import annotations

import pytest

from cllm.report.figures import Verdict
from cllm.report.sections import duration, mark


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (9.54, "9.5 s"), (99.4, "99.4 s"), (245.2, "4 min 05 s"), (7380, "2 h 03 min")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("passed", "text", "good"), [(True, "✅ absent", True), (False, "⚠️ present", False), (None, "–", None)]
)
def test_a_mark_says_and_means_the_same(passed: bool | None, text: str, good: bool | None) -> None:
    found = mark(Verdict(name="x", passed=passed, figure="y"), "absent", "present", "⚠️")
    assert (str(found), found.good) == (text, good)
