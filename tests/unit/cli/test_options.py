"""Options made from settings: what a person gave, what not, and what the help says."""

from __future__ import annotations

from typing import Any, Literal

import click
import pytest
from click.testing import CliRunner

from cllm.cli.options import options_of, settings_from
from cllm.errors import InvalidSettings
from cllm.settings import SamplingSettings, Settings, TrainSettings, setting


class Sample(Settings):
    """One field of each kind."""

    rate: float = setting(0.5, "How fast", "hertz", gt=0)
    batch_size: int | None = setting(None, "How many", "windows", ge=0)
    mode: Literal["slow", "fast"] = setting("slow", "Which way")
    tag: tuple[str, ...] = setting((), "Words")
    hidden: int = setting(3, "Not an option")


def given(*arguments: str) -> Sample:
    received: list[Sample] = []

    @click.command()
    @options_of(Sample, skip=("hidden",))
    @click.option("--other", default="x")
    def command(**values: Any) -> None:
        received.append(settings_from(Sample, values))

    CliRunner().invoke(command, list(arguments), catch_exceptions=False, standalone_mode=False)
    return received[0]


def test_what_was_not_given_is_not_set() -> None:
    assert given() == Sample()
    assert given().model_fields_set == set()


def test_values_are_converted_and_known_to_be_set() -> None:
    settings = given("--rate", "0.5", "--batch-size", "0", "--mode", "fast", "--tag", "a", "--tag", "", "--other", "y")
    assert settings == Sample(rate=0.5, batch_size=0, mode="fast", tag=("a", ""))
    assert settings.model_fields_set == {"rate", "batch_size", "mode", "tag"}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--rate", "nan", "rate = nan"), ("--rate", "0", "rate = 0.0"), ("--batch-size", "-1", "batch-size = -1")],
)
def test_bounds_are_those_of_the_settings(option: str, value: str, message: str) -> None:
    with pytest.raises(InvalidSettings, match=message):
        given(option, value)


@pytest.mark.parametrize("arguments", [("--mode", "other"), ("--rate", "x"), ("--hidden", "1")])
def test_what_is_no_value_or_no_option_is_a_wrong_use(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        given(*arguments)


@pytest.mark.parametrize("kind", [TrainSettings, SamplingSettings])
def test_help_says_description_default_and_unit_of_every_setting(kind: type[Settings]) -> None:
    @click.command()
    @options_of(kind)
    def command(**_values: Any) -> None: ...

    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for name, field in kind.model_fields.items():
        assert f"--{name.replace('_', '-')} " in text
        assert f"{field.description}." in text
    assert text.index("--seed") < text.index("--name") if kind is TrainSettings else "[default: 0.7]" in text
    if kind is TrainSettings:
        assert "[default: 10 epochs]" in text
        assert "[in minutes]" in text
        assert "[auto|bf16|fp32]" in text
