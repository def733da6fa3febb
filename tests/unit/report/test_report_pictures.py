"""Pictures: that they are made for every kind of run, and show what they should."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from cllm.report import palette
from cllm.report.gather import gather
from cllm.report.history import read_history
from cllm.report.pictures import debiased_ema, loss_picture, short, smoothed, spheres_picture
from tests.synthetic_run import SyntheticRun


def pixels(png: bytes) -> np.ndarray:
    return (imread(io.BytesIO(png))[..., :3] * 255).round().astype(int)


def has_colour(png: bytes, colour: str) -> bool:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels(png) - wanted).max(axis=2) <= 2).any())


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"until": 0, "state": "interrupted"},
        {"until": 1, "state": "failed", "spheres": 1},
        {"spheres": 120, "epochs": 14, "steps_per_epoch": 4},
    ],
)
def test_every_kind_of_run_has_its_pictures(tmp_path: Path, made: dict[str, object]) -> None:
    run = SyntheticRun(tmp_path / "run", **made)  # type: ignore[arg-type]
    history = read_history(run.write())
    report = gather("run", run.state or "interrupted", history, {"spheres": run.spheres})
    for png in (loss_picture(report, history), spheres_picture(report)):
        assert pixels(png).std() > 5  # something is drawn


def test_spheres_have_the_colour_of_their_activity(tmp_path: Path) -> None:
    report = gather("run", "done", read_history(SyntheticRun(tmp_path / "a", epochs=1).write()), {})
    legend = pixels(spheres_picture(report))
    grey = [int(palette.LEVELS[0].colour[i : i + 2], 16) for i in (1, 3, 5)]
    only_legend = int((np.abs(legend - grey).max(axis=2) <= 2).sum())
    report = gather("run", "done", read_history(SyntheticRun(tmp_path / "b", epochs=1, idle=(0, 1, 2)).write()), {})
    with_idle = int((np.abs(pixels(spheres_picture(report)) - grey).max(axis=2) <= 2).sum())
    assert with_idle > 5 * only_legend


def test_the_average_begins_unbiased() -> None:
    assert debiased_ema([5.0, 5.0, 5.0], 0.9) == pytest.approx([5.0, 5.0, 5.0])
    assert debiased_ema([1.0, 2.0], 0.5) == pytest.approx([1.0, (0.25 * 1 + 0.5 * 2) / 0.75])


def test_a_straight_fall_is_not_drawn_late() -> None:
    line = [10 - 0.01 * i for i in range(400)]
    assert smoothed(line, 0.9)[-1] == pytest.approx(line[-1], abs=1e-3)
    assert debiased_ema(line, 0.9)[-1] - line[-1] > 0.05


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (12_345, "12k"), (999_999, "999k"), (3_400_000, "3.4M")],
)
def test_counts_are_short(count: int, text: str) -> None:
    assert short(count) == text
