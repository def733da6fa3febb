"""What is said of settings that are not valid: in words of a person, with what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from cllm.errors import InvalidSettings
from cllm.settings import TrainSettings, problems, validated


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("learning_rate", "abc", "must be a number, such as 0.001"),
        ("learning_rate", "0,001", "must be a number, such as 0.001"),
        ("learning_rate", float("nan"), "must be a number, such as 0.001"),
        ("learning_rate", 0, "must be more than 0"),
        ("learning_rate", 5, "must be at most 1"),
        ("epochs", "x", "must be a whole number, such as 10"),
        ("epochs", 1.5, "must be a whole number, such as 10"),
        ("epochs", 0, "must be at least 1"),
        ("epochs", 99_999, "must be at most 10,000"),
        ("minutes", "soon", "must be a number"),
        ("seed", "9" * 5000, "must be a smaller number"),
        ("precision", "fp8", "must be 'auto', 'bf16' or 'fp32'"),
        ("sample_prompt", "a" * 2001, "must have at most 2,000 characters"),
        ("colour", "red", "there is no such setting"),
    ],
)
def test_a_problem_is_said_in_plain_words(name: str, value: Any, said: str) -> None:
    assert problems(TrainSettings, {name: value}) == {name: said}


def test_the_line_of_an_error_names_the_setting_what_was_given_and_what_it_is_for() -> None:
    with pytest.raises(InvalidSettings, match=r"^batch-size = 0: must be at least 1 \(Windows in a step"):
        validated(TrainSettings, {"batch_size": 0})
