"""The tables and the picture of the points that benchmarks.quality has measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import loops
from benchmarks.measure import table, write_results
from benchmarks.plots import COLOURS, OURS, Line, curves
from benchmarks.points import Point

MAKERS = {"cllm": "cllm train", **loops.NAMES}
LEVELS = {"xz": "xz -9e", "ppmd": "PPMd", "zpaq": "zpaq -m5"}
DIALS = {"learning_rate": "learning rate", "depth": "depth"}
COLOUR_OF = {name: OURS if maker == "cllm" else COLOURS[i] for i, (maker, name) in enumerate(MAKERS.items())}
Curve = Mapping[float, float]  # minutes -> bits per byte


def by_minutes(points: Sequence[Point]) -> dict[float, list[float]]:
    """The figures of all seeds for each length, ascending."""
    found: dict[float, list[float]] = {}
    for point in sorted(points, key=lambda p: p["minutes"]):
        found.setdefault(point["minutes"], []).append(point["bits_per_byte"])
    return found


def minutes_to_reach(curve: Curve, bits_per_byte: float) -> tuple[str, float] | None:
    """When a curve reaches a figure: ("=", minutes), or (">", its last) or ("<", its first) outside what was measured.

    Between two points it is linear in the logarithm of the time. A longer training that came out worse than a shorter
    one counts as the shorter. None without points.
    """
    if not curve:
        return None
    before: tuple[float, float] | None = None
    for minutes in sorted(curve):
        value = min(curve[minutes], before[1]) if before else curve[minutes]
        if value <= bits_per_byte:
            if before is None:
                return ("=" if value == bits_per_byte else "<", minutes)
            share = (before[1] - bits_per_byte) / (before[1] - value)
            return "=", math.exp(math.log(before[0]) + share * (math.log(minutes) - math.log(before[0])))
        before = (minutes, value)
    return ">", max(curve)


def times_longer(slow: Curve, minutes: float, bits_per_byte: float) -> str:
    """How many times `minutes` the slow curve needs for the same figure, in words: "5.2", "more than 4.0"."""
    reached = minutes_to_reach(slow, bits_per_byte)
    if reached is None:
        return ""
    sign, needed = reached
    return {"=": "", ">": "more than ", "<": "at most "}[sign] + f"{needed / minutes:.1f}"


def times_shorter(fast: Curve, minutes: float, bits_per_byte: float) -> str:
    """How many times as long as the fast curve `minutes` is, for the same figure: "5.2", "at least 4.0"."""
    reached = minutes_to_reach(fast, bits_per_byte)
    if reached is None:
        return ""
    sign, needed = reached
    return {"=": "", ">": "less than ", "<": "at least "}[sign] + f"{minutes / needed:.1f}"


def _cell(values: Sequence[float] | None) -> str:
    if not values:
        return ""
    middle = f"{statistics.median(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f} to {max(values):.3f})"


def newest(points: Sequence[Point], corpus: str) -> list[Point]:
    """The points of `corpus` that belong together: of the files, the options and the plain loop measured last."""
    own = [p for p in points if p["corpus"] == corpus and p["kind"] == "point"]
    last = {p["maker"]: p for p in own}
    same = ("options", "loop", "cores")
    return [
        p for p in own if p["sha256"] == own[-1]["sha256"] and all(p.get(k) == last[p["maker"]].get(k) for k in same)
    ]


def corpus_text(corpus: str, points: Sequence[Point]) -> str:
    """Both tables of a corpus."""
    found = {maker: by_minutes([p for p in points if p["maker"] == maker]) for maker in MAKERS}
    lengths = sorted({minutes for curve in found.values() for minutes in curve})
    rows = [
        [MAKERS[maker], *(_cell(curve.get(minutes)) for minutes in lengths)] for maker, curve in found.items() if curve
    ]
    for maker, name in LEVELS.items():
        level = next((p["bits_per_byte"] for p in points if p["maker"] == maker), None)
        if level is not None:
            rows.append([f"{name}, given the training files", *[f"{level:.3f}"] * max(1, len(lengths))])
    text = f"### {corpus}\n\n"
    text += f"Bits per byte of the test files ({points[0]['test_bytes']:,} bytes) after so many minutes:\n\n"
    text += table(["", *(f"{m:g} min" for m in lengths)] if lengths else ["", ""], rows)
    medians = {maker: {m: statistics.median(v) for m, v in curve.items()} for maker, curve in found.items()}
    ours = medians.pop("cllm")
    rows = []
    for maker, curve in medians.items():
        if ours and curve:
            name = MAKERS[maker]
            longer = [times_longer(curve, m, ours[m]) if m in ours else "" for m in lengths]
            shorter = [times_shorter(ours, m, curve[m]) if m in curve else "" for m in lengths]
            rows.append([f"{name}: times longer for what cllm train reaches then", *longer])
            rows.append([f"{name}: times as long as cllm train for what the loop reaches then", *shorter])
    if rows:
        text += "\nTime for the same figure, between points linear in the logarithm of the time:\n\n"
        text += table(["", *(f"{m:g} min" for m in lengths)], rows)
    dials = {(MAKERS[p["maker"]], name, p[dial]) for p in points for dial, name in DIALS.items() if dial in p}
    if dials:
        chosen = "; ".join(f"{maker}: {name} {value:g}" for maker, name, value in sorted(dials))
        text += f"\nChosen on the validation files: {chosen}.\n"
    taken = {
        name: [100 * p["wall_s"] / (60 * p["minutes"]) for p in points if p["maker"] == maker]
        for maker, name in MAKERS.items()
    }
    spans = [f"{name} {min(shares):.1f} to {max(shares):.1f} %" for name, shares in taken.items() if shares]
    return text + (f"\nTime that was taken, of the minutes given: {', '.join(spans)}.\n" if spans else "")


def lines_of(points: Sequence[Point]) -> list[Line]:
    """The curves of a corpus, ours first."""
    found = []
    for maker, name in MAKERS.items():
        curve = by_minutes([p for p in points if p["maker"] == maker])
        if curve:
            values = list(curve.values())
            found.append(
                Line(name, list(curve), [min(v) for v in values], [statistics.median(v) for v in values],
                     [max(v) for v in values])
            )  # fmt: skip
    return found


def report(points: Sequence[Point], out: Path, command: str) -> None:
    """quality.md, quality.json and quality.png in `out`."""
    names = list(dict.fromkeys(p["corpus"] for p in points if p["kind"] == "point"))
    chosen = {name: newest(points, name) for name in names}
    processors = sorted({p["processor"] for own in chosen.values() for p in own})
    text = "\n".join(corpus_text(name, own) for name, own in chosen.items())
    if len(processors) > 1:
        text += f"\nThese points are of different machines and must not be compared: {', '.join(processors)}.\n"
    versions = sorted({p.get("version", "") for own in chosen.values() for p in own if p["maker"] == "cllm"})
    if len(versions) > 1:
        text += f"\nThe points of cllm train are of different versions of it: {', '.join(versions)}.\n"
    write_results(out, "quality", command, {"points": [dict(p) for p in points]}, text)
    if not chosen:
        return
    panels = {}
    for name, own in chosen.items():
        levels = {LEVELS[p["maker"]]: p["bits_per_byte"] for p in own if p["maker"] in LEVELS}
        panels[name] = (lines_of(own), levels)
    curves(
        out / "quality.png", "Quality against time",
        f"bits per byte of files held out, less is better; compressors given the training files  ·  {processors[0]}",
        panels, "minutes in all, preparation included", "bits per byte", COLOUR_OF,
    )  # fmt: skip
