"""Measured points of a benchmark that takes hours, kept in a file one by one, so that it can be run in pieces."""

from __future__ import annotations

import json
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import cllm
from benchmarks.corpora import list_sha256
from benchmarks.measure import machine
from cllm.storage import write_json

Point = dict[str, Any]
TRAINER = ("corpus", "model", "training")


class Points:
    """What was measured, kept in a file after each point. A point is found by what it is a point of."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.all: list[Point] = json.loads(path.read_text()) if path.is_file() else []

    def matching(self, **wanted: Any) -> list[Point]:
        """The points that have all of these."""
        return [p for p in self.all if all(p.get(k) == v for k, v in wanted.items())]

    def find(self, **wanted: Any) -> Point | None:
        """The first point that has all of these."""
        return next(iter(self.matching(**wanted)), None)

    def forget(self, **wanted: Any) -> None:
        """Leave out the points that have all of these; in the file from the next `add` on."""
        for point in self.matching(**wanted):
            self.all.remove(point)  # in place: another thread may be adding

    def add(self, point: Point) -> Point:
        """Keep a point, in the file too."""
        about = {"processor": machine()["processor"], "date": time.strftime("%Y-%m-%d"), "version": version()}
        self.all.append({**point, **about})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self.all)
        say(" ".join(f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in point.items() if k != "plan"))
        return point


@cache
def version() -> str:
    """A digest of what a training depends on: the trainer's sources, without the command line, studio and reports."""
    package = Path(cllm.__file__).parent
    files = [f for f in package.rglob("*.py") if f.parent == package or f.relative_to(package).parts[0] in TRAINER]
    return list_sha256((f.relative_to(package).as_posix(), f.read_bytes()) for f in files)[:12]


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
