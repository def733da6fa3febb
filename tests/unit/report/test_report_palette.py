"""Colours and places of the spheres."""

from __future__ import annotations

import math

import pytest

from cllm.report import palette


@pytest.mark.parametrize(
    ("activity", "name"),
    [
        (0.0, "Inactive"),
        (-1.0, "Inactive"),
        (0.009, "Inactive"),
        (0.01, "Low"),
        (0.49, "Low"),
        (0.5, "Medium"),
        (0.9, "High"),
        (1.0, "High"),
        (1.24, "High"),
        (1.25, "Very high"),
        (50.0, "Very high"),
    ],
)
def test_levels_hold_from_their_least_activity(activity: float, name: str) -> None:
    assert palette.level_of(activity).name == name


def test_very_high_goes_from_orange_to_red() -> None:
    assert palette.colour_of(1.25) == palette.LEVELS[-1].colour
    assert palette.colour_of(palette.RED_FROM) == palette.colour_of(99.0) == palette.RED
    between = palette.colour_of((1.25 + palette.RED_FROM) / 2)
    green = int(between[3:5], 16)
    assert int(palette.RED[3:5], 16) < green < int(palette.LEVELS[-1].colour[3:5], 16)


@pytest.mark.parametrize("spheres", [1, 2, 3, 12, 13, 47, 120])
def test_circles_do_not_touch(spheres: int) -> None:
    circles = palette.ring(spheres)
    assert len(circles) == spheres
    assert (circles[0].x, circles[0].y) == pytest.approx((0, -1))  # at the top
    for i, a in enumerate(circles):
        assert a.radius > 0
        for b in [palette.CONTROL, *circles[:i]]:
            assert math.hypot(a.x - b.x, a.y - b.y) > a.radius + b.radius


def test_the_ring_goes_clockwise() -> None:
    assert palette.ring(12)[3].x == pytest.approx(1)
