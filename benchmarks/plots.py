"""The pictures of the benchmarks: one look for all, readable at the width of a README. matplotlib without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from cllm.report.pictures import DPI, FAINT, GRID, INK, QUIET, STYLE

OURS = "#2457b8"
COLOURS = (OURS, "#d2553f", "#e39b3a", "#8a6bbf", "#4f9a78", "#7b8794")
MARKERS = ("o", "s", "D", "^", "v", "P")
LOOK = {**STYLE, "font.size": 11}


@dataclass(frozen=True)
class Line:
    """A curve with its spread: x, then lowest, median and highest y."""

    name: str
    x: Sequence[float]
    lowest: Sequence[float]
    median: Sequence[float]
    highest: Sequence[float]


@dataclass(frozen=True)
class Bar:
    """One bar: the median, and what is written at its end. `lowest` and `highest` are a thin line over it."""

    median: float
    lowest: float
    highest: float
    note: str = ""

    @staticmethod
    def of(spread: Mapping[str, float], note: str = "") -> Bar:
        """The bar of a `benchmarks.measure.spread`."""
        return Bar(spread["median"], spread["lowest"], spread["highest"], note)


def new_figure(title: str, subtitle: str, width: float, height: float) -> Figure:
    """An empty figure with its headline; sizes in inches."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(0.3 / width, 1 - 0.32 / height, title, fontsize=15, fontweight="bold", va="center", color=INK)
    figure.text(0.3 / width, 1 - 0.62 / height, subtitle, fontsize=9.5, color=QUIET, va="center")
    return figure


def tidy(axes: Axes, grid: Literal["x", "y"] = "y") -> None:
    """No frame but the base line, and a light grid behind everything."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(True, axis=grid, color=GRID, linewidth=0.9)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI, metadata={"Software": "cllm"})


def curves(
    path: Path,
    title: str,
    subtitle: str,
    panels: Mapping[str, tuple[Sequence[Line], Mapping[str, float]]],
    x_label: str,
    y_label: str,
    colours: Mapping[str, str],
) -> None:
    """Panels side by side, of curves over a logarithmic x and of levels: dashed lines with their names at the right."""
    with matplotlib.rc_context(LOOK):
        width, height = 1.6 + 5.4 * len(panels), 5.2
        figure = new_figure(title, subtitle, width, height)
        figure.subplots_adjust(left=0.75 / width, right=1 - 1.15 / width, top=1 - 1.25 / height, bottom=1.15 / height,
                               wspace=0.36)  # fmt: skip
        handles: dict[str, Artist] = {}
        for axes, (name, (lines, levels)) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(),
                                                 strict=True):  # fmt: skip
            tidy(axes)
            axes.set_title(name, loc="left", fontsize=11.5, fontweight="bold", color=INK, pad=8)
            ticks = sorted({x for line in lines for x in line.x}) or [1.0, 10.0]
            axes.set_xscale("log")
            axes.set_xlim(ticks[0] / 1.12, ticks[-1] * 1.12)
            axes.xaxis.set_major_locator(FixedLocator(ticks))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            for number, line in enumerate(lines):
                colour = colours.get(line.name, COLOURS[number % len(COLOURS)])
                if any(high > low for low, high in zip(line.lowest, line.highest, strict=True)):
                    axes.fill_between(line.x, line.lowest, line.highest, color=colour, alpha=0.14, linewidth=0)
                handles[line.name] = axes.plot(
                    line.x, line.median, color=colour, linewidth=2.4 if colour == OURS else 1.8, label=line.name,
                    marker=MARKERS[number % len(MARKERS)], markersize=7, markeredgecolor="white", markeredgewidth=1.1,
                    zorder=5 if colour == OURS else 4, solid_capstyle="round", clip_on=False,
                )[0]  # fmt: skip
            for y in levels.values():
                axes.axhline(y, color=QUIET, linewidth=1.1, linestyle=(0, (5, 3)), zorder=2)
            low, high = axes.get_ylim()
            places = spaced(list(levels.values()), 0.05 * (high - low))
            for (level, y), at in zip(levels.items(), places, strict=True):
                axes.text(
                    1.02, at, f"{level} {y:.3f}", fontsize=9, color=QUIET, va="center",
                    transform=axes.get_yaxis_transform(),
                )  # fmt: skip
            axes.set_xlabel(x_label)
        figure.axes[0].set_ylabel(y_label)
        if handles:
            figure.legend(
                list(handles.values()), list(handles), loc="lower left", bbox_to_anchor=(0.55 / width, 0.06 / height),
                ncols=len(handles), frameon=False, labelcolor=INK, handlelength=1.6, columnspacing=1.6,
            )  # fmt: skip
        save(figure, path)


def spaced(places: Sequence[float], least: float) -> list[float]:
    """`places`, in their order, moved apart upwards so that any two are at least `least` from each other."""
    moved = list(places)
    before = None
    for index in sorted(range(len(places)), key=lambda i: places[i]):
        if before is not None:
            moved[index] = max(moved[index], before + least)
        before = moved[index]
    return moved


def rounds_note(what: str, rounds: int, machine: str) -> str:
    """The line below a headline."""
    return f"{what}, {'one round' if rounds == 1 else f'median and spread of {rounds} rounds'}  ·  {machine}"


def number(value: float) -> str:
    """Three digits of small numbers, all of large ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def bars(
    path: Path, title: str, subtitle: str, groups: Mapping[str, Mapping[str, Bar]], x_label: str, log: bool = False
) -> None:
    """Groups of horizontal bars; a bar's name has the same colour in every group, the first one ours."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    with matplotlib.rc_context(LOOK):
        rows = sum(len(group) for group in groups.values())
        width, height = 8.4, 1.85 + 0.34 * rows + 0.34 * len(groups)
        figure = new_figure(title, subtitle, width, height)
        axes = figure.add_axes((1.15 / width, 1.0 / height, 1 - 2.65 / width, 1 - 1.85 / height))
        tidy(axes, "x")
        axes.spines["bottom"].set_visible(False)
        if log:
            axes.set_xscale("log")
        y, ticks = 0.0, {}
        seen: dict[str, Rectangle] = {}
        for label, group in groups.items():
            begin = y
            for name, bar in group.items():
                colour = COLOURS[names.index(name) % len(COLOURS)]
                seen[name] = axes.barh(y, bar.median, height=0.78, color=colour, linewidth=0).patches[0]
                if bar.highest > bar.lowest:
                    axes.plot([bar.lowest, bar.highest], [y, y], color=INK, linewidth=1.3, alpha=0.7)
                axes.annotate(
                    number(bar.median) + (f"  {bar.note}" if bar.note else ""), (max(bar.median, bar.highest), y),
                    xytext=(6, 0), textcoords="offset points", va="center", fontsize=9.5,
                )  # fmt: skip
                y += 1
            ticks[label] = (begin + y - 1) / 2
            y += 1
        axes.set_yticks(list(ticks.values()), list(ticks), fontweight="bold", color=INK)
        axes.set_ylim(y - 1.3, -0.7)
        axes.spines["left"].set_visible(True)
        axes.spines["left"].set_color(FAINT)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel(x_label)
        figure.legend(
            list(seen.values()), list(seen), loc="lower left", bbox_to_anchor=(0.2 / width, 0.04 / height),
            ncols=min(4, len(seen)), frameon=False, labelcolor=INK, handlelength=1.0, columnspacing=1.4, fontsize=10,
        )  # fmt: skip
        save(figure, path)
