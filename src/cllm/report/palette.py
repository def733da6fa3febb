"""How spheres look: the colours of their activity and where they stand. Pure; pictures and the browser page share it.

Activity is relative: 1.0 means that a sphere processes exactly an even share of the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

RED = "#e2483c"
RED_FROM = 2.0  # the activity at which "very high" is fully red


@dataclass(frozen=True)
class Level:
    """A class of activity: it holds from `least` (inclusive) up to the next level's."""

    name: str
    least: float
    colour: str
    ink: str  # colour of text on it


LEVELS = (
    Level("Inactive", 0.0, "#454b57", "#ffffff"),
    Level("Low", 0.01, "#3b74d6", "#ffffff"),
    Level("Medium", 0.5, "#35b8cc", "#0d2b33"),
    Level("High", 0.9, "#f5c63c", "#3a2c00"),
    Level("Very high", 1.25, "#f08a30", "#1f0d00"),
)


def level_of(activity: float) -> Level:
    """The class that `activity` belongs to."""
    return next(level for level in reversed(LEVELS) if activity >= level.least or level is LEVELS[0])


def colour_of(activity: float) -> str:
    """The fill colour of a sphere, "#rrggbb": its level's, and from orange to red within "very high"."""
    level = level_of(activity)
    if level is not LEVELS[-1]:
        return level.colour
    return mix(level.colour, RED, (activity - level.least) / (RED_FROM - level.least))


def mix(first: str, second: str, share: float) -> str:
    """The colour `share` (clamped to 0..1) of the way from `first` to `second`, in sRGB."""
    share = min(1.0, max(0.0, share))
    channels = (round(int(first[i : i + 2], 16) * (1 - share) + int(second[i : i + 2], 16) * share) for i in (1, 3, 5))
    return "#" + "".join(f"{channel:02x}" for channel in channels)


@dataclass(frozen=True)
class Circle:
    """A circle; the ring of spheres has radius 1 round (0, 0), x goes to the right and y downwards, as in SVG."""

    x: float
    y: float
    radius: float


CONTROL = Circle(0.0, 0.0, 0.44)
LARGEST_RADIUS = 0.2


def ring(spheres: int) -> list[Circle]:
    """The circles of the spheres, clockwise from the top; they never touch each other or the control sphere."""
    half_gap = math.sin(math.pi / spheres) if spheres > 1 else 1.0
    radius = min(LARGEST_RADIUS, 0.84 * half_gap)
    angles = (2 * math.pi * index / spheres for index in range(spheres))
    return [Circle(math.sin(angle), -math.cos(angle), radius) for angle in angles]
