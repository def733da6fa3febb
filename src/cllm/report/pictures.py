"""The pictures of a report: the loss curve and the ring of spheres, as PNG files. matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cllm.report import palette
from cllm.report.figures import Report
from cllm.report.gather import epoch_of
from cllm.report.history import Data, History
from cllm.report.sections import epochs_of

INK, QUIET, FAINT, GRID = "#20242c", "#6b7280", "#c3c9d3", "#eceff3"
TRAIN, TRAIN_RAW, HELD_OUT, RATE = "#2457b8", "#b9cdf0", "#d2553f", "#4f9a78"
STATE_COLOURS = {
    "done": "#2f8f5b",
    "running": TRAIN,
    "stopped": "#b7791f",
    "failed": palette.RED,
    "interrupted": palette.RED,
}
DPI = 160


def _light() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """White of falling opacity round a point at the upper left: (64, 64, 4) RGBA."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    pixels = np.ones((64, 64, 4))
    pixels[..., 3] = 0.26 * np.clip(1 - np.hypot(x + 0.3, y + 0.36) / 1.25, 0, 1) ** 1.5
    return pixels


LIGHT = _light()
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": QUIET,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "axes.linewidth": 0.8,
}


def debiased_ema(values: Sequence[float], weight: float) -> list[float]:
    """Exponential moving average whose beginning is not drawn towards 0 (Kingma & Ba 2015, section 3)."""
    mean, scale, smooth = 0.0, 1.0, []
    for value in values:
        mean = weight * mean + (1 - weight) * value
        scale *= weight
        smooth.append(mean / (1 - scale))
    return smooth


def smoothed(values: Sequence[float], weight: float) -> list[float]:
    """The double EMA of Mulloy (1994), 2 EMA - EMA(EMA): a falling loss is not drawn later than it fell."""
    once = debiased_ema(values, weight)
    return [2 * a - b for a, b in zip(once, debiased_ema(once, weight), strict=True)]


def smoothing_weight(steps: int) -> float:
    """About a 20th of the run is averaged over: enough to see the trend, too little to hide a jump."""
    span = min(200.0, max(2.5, steps / 20))
    return 1 - 1 / span


def loss_picture(report: Report, history: History) -> bytes:
    """PNG: training loss raw and smoothed, held-out loss, epochs; below it the learning rate."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.0, 5.4), facecolor="white")
        loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(4.2, 1), gridspec_kw={"hspace": 0.1})
        figure.subplots_adjust(left=0.095, right=0.875, top=0.815, bottom=0.1)
        _headline(figure, report, "Loss")
        for axes in (loss, rate):
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.yaxis.grid(True, color=GRID, linewidth=0.9)
            axes.set_axisbelow(True)
        if history.steps:
            _draw_loss(loss, report, history)
            _draw_rate(rate, history.steps)
        else:
            _nothing_yet(loss)
            rate.set_visible(False)
        return _png(figure)


def spheres_picture(report: Report) -> bytes:
    """PNG: the spheres in a ring round the control sphere, coloured by activity, with their microbatch counts."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 7.9), facecolor="white")
        axes = figure.add_axes((0.03, 0.118, 0.94, 0.8))
        axes.axis("off")
        _headline(figure, report, "Spheres")
        _draw_ring(axes, report)
        axes.set_aspect("equal")
        axes.set_xlim(-1.42, 1.42)
        axes.set_ylim(1.36, -1.36)
        _legend(figure)
        return _png(figure)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": "cllm"})
    return stream.getvalue()


def _headline(figure: Figure, report: Report, title: str) -> None:
    width, height = figure.get_size_inches()
    left, top = 0.32 / width, 1 - 0.3 / height
    figure.text(left, top, title, fontsize=15, fontweight="bold", va="center")
    figure.text(left, top - 0.28 / height, f"run {report.run}", fontsize=9, color=QUIET, va="center")
    figure.text(
        1 - left, top, report.state, fontsize=10.5, fontweight="bold", ha="right", va="center",
        color=STATE_COLOURS.get(report.state, QUIET),
    )  # fmt: skip
    figure.text(1 - left, top - 0.28 / height, _progress(report), fontsize=9, color=QUIET, ha="right", va="center")


def _progress(report: Report) -> str:
    done = report.throughput
    if not done.steps:
        return "no steps yet"
    return f"step {done.steps:,}  ·  {epochs_of(done)}"


def _nothing_yet(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.4, "no steps yet", transform=axes.transAxes, ha="center", va="center", fontsize=14, color=QUIET)


def _draw_loss(axes: Axes, report: Report, history: History) -> None:
    steps = [step["step"] for step in history.steps]
    raw = [step["loss"] for step in history.steps]
    weight = smoothing_weight(len(raw))
    _mark_epochs(axes, history.steps)
    axes.plot(steps, raw, color=TRAIN_RAW, linewidth=0.9, label="training, each step")
    axes.plot(
        steps, smoothed(raw, weight), color=TRAIN, linewidth=2.1, marker="o" if len(raw) == 1 else None,
        label=f"training, smoothed ({weight:.2f})",
        solid_capstyle="round",
    )  # fmt: skip
    if history.validations:
        points = [(v["step"], v["loss"]) for v in history.validations]
        axes.plot(
            *zip(*points, strict=True),
            color=HELD_OUT,
            linewidth=1.3,
            marker="o",
            markersize=5.5,
            markeredgecolor="white",
            markeredgewidth=1,
            label="held out",
            clip_on=False,
            zorder=5,
        )
        _annotate_last(axes, history.validations[-1])
    axes.set_xlim(0, 1.015 * steps[-1])
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low - 0.04 * (high - low)), high)
    axes.set_ylabel("nats per token")
    axes.yaxis.set_label_coords(-0.056, 0.5)
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, loc="upper right", labelcolor=INK, handlelength=1.6, borderaxespad=0.2)


def _annotate_last(axes: Axes, last: Data) -> None:
    axes.text(
        1.012,
        last["loss"],
        f"{last['loss']:.2f} nats\n{last['bits_per_byte']:.3f} bits/byte",
        va="center",
        fontsize=8.5,
        color=HELD_OUT,
        linespacing=1.35,
        transform=axes.get_yaxis_transform(),
    )


def _mark_epochs(axes: Axes, steps: Sequence[Data]) -> None:
    """Fine lines where epochs end, numbered above; with very many epochs only some of them."""
    ends = {epoch_of(step): step["step"] for step in steps}
    every = max(1, -(-len(ends) // 12))
    start = 0
    for number, end in ends.items():
        if (number - 1) % every == 0:
            axes.text(
                (start + end) / 2,
                1.035,
                str(number),
                transform=axes.get_xaxis_transform(),
                ha="center",
                fontsize=8,
                color=QUIET,
            )
        if number % every == 0 and number != len(ends):
            axes.axvline(end, color=FAINT, linewidth=0.8, linestyle=(0, (1, 3)), zorder=0.5)
        start = end
    axes.text(-0.012, 1.035, "epoch", transform=axes.transAxes, ha="right", fontsize=8, color=QUIET)


def _draw_rate(axes: Axes, steps: Sequence[Data]) -> None:
    numbers = [step["step"] for step in steps]
    rates = [step["learning_rate"] for step in steps]
    axes.fill_between(numbers, rates, color=RATE, alpha=0.14, linewidth=0)
    axes.plot(numbers, rates, color=RATE, linewidth=1.6)
    axes.set_ylim(0, 1.15 * max(rates) or 1)
    axes.set_yticks([0, max(rates)])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_ylabel("learning\nrate")
    axes.yaxis.set_label_coords(-0.056, 0.5)
    axes.set_xlabel("step")


def _draw_ring(axes: Axes, report: Report) -> None:
    spheres = report.spheres
    total = spheres.total or int(report.settings.get("spheres", 12))
    places = palette.ring(total)
    font = 11.5 * min(1.0, places[0].radius / 0.17)
    names_every = -(-total // 24)
    for index, place in enumerate(places):
        sphere = spheres.each[index] if spheres.each else None
        activity = sphere.activity if sphere else 0.0
        axes.add_line(Line2D([0, place.x], [0, place.y], color=GRID, linewidth=min(2.0, 24 / total), zorder=0))
        _ball(axes, place, palette.colour_of(activity))
        if font > 5:
            count = short(sphere.microbatches if sphere else 0)
            axes.text(
                place.x, place.y, count, ha="center", va="center_baseline", fontsize=font, fontweight="bold",
                color=palette.level_of(activity).ink, zorder=4,
            )  # fmt: skip
        if index % names_every == 0:
            away = 1 + place.radius + 0.075
            axes.text(place.x * away, place.y * away, str(index), ha="center", va="center", fontsize=8, color=QUIET)
    _draw_control(axes, report, total)


def _ball(axes: Axes, place: palette.Circle, colour: str) -> None:
    """A disc with a soft light from the upper left and a soft edge: calm, but round."""
    centre = (place.x, place.y)
    axes.add_patch(
        Circle(
            (place.x, place.y + 0.06 * place.radius),
            1.05 * place.radius,
            color="#1b2230",
            alpha=0.10,
            linewidth=0,
            zorder=1,
        )
    )
    disc = Circle(
        centre, place.radius, facecolor=colour, edgecolor=palette.mix(colour, "#10151f", 0.25), linewidth=0.9, zorder=2
    )
    axes.add_patch(disc)
    box = (place.x - place.radius, place.x + place.radius, place.y + place.radius, place.y - place.radius)
    light = axes.imshow(LIGHT, extent=box, interpolation="bilinear", aspect="auto", zorder=3)
    light.set_clip_path(disc)


def _draw_control(axes: Axes, report: Report, total: int) -> None:
    control = palette.CONTROL
    axes.add_patch(Circle((0, 0.012), control.radius * 1.02, color="#1b2230", alpha=0.08, linewidth=0, zorder=1))
    axes.add_patch(Circle((0, 0), control.radius, facecolor="#f8fafc", edgecolor=FAINT, linewidth=1.2, zorder=2))
    lines: list[tuple[float, str, dict[str, Any]]] = [
        (-0.20, "control sphere", {"fontsize": 8, "color": QUIET}),
        (-0.055, f"{report.spheres.active}/{total}", {"fontsize": 21, "fontweight": "bold"}),
        (0.07, "active", {"fontsize": 9.5, "color": QUIET}),
    ]
    if report.losses.final is None:
        lines.append((0.215, "no steps yet", {"fontsize": 9.5, "color": QUIET}))
    else:
        lines.append((0.19, f"step {report.throughput.steps:,}", {"fontsize": 9.5}))
        lines.append((0.275, f"loss {report.losses.final:.3f}", {"fontsize": 9.5}))
    for y, text, style in lines:
        axes.text(0, y, text, ha="center", va="center", zorder=4, **style)


def _legend(figure: Figure) -> None:
    """Five swatches in a row, evenly set, and what the numbers are."""
    _, height = figure.get_size_inches()
    swatch, step, y = 0.024, 0.172, 0.72 / height
    start = 0.5 - step * len(palette.LEVELS) / 2 + 0.018
    aspect = figure.get_size_inches()[0] / height
    for index, level in enumerate(palette.LEVELS):
        x = start + index * step
        figure.add_artist(
            Rectangle((x, y - swatch * aspect / 2), swatch, swatch * aspect, facecolor=level.colour, linewidth=0)
        )
        if level is palette.LEVELS[-1]:
            figure.add_artist(
                Rectangle(
                    (x + swatch / 2, y - swatch * aspect / 2),
                    swatch / 2,
                    swatch * aspect,
                    facecolor=palette.RED,
                    linewidth=0,
                )
            )
        figure.text(x + swatch + 0.012, y + 0.05 / height, level.name, fontsize=9, va="center")
        figure.text(x + swatch + 0.012, y - 0.09 / height, _bounds(index), fontsize=7.5, color=QUIET, va="center")
    note = "colour: activity, 1 = an even share of the tokens  ·  number: microbatches done"
    figure.text(0.5, 0.32 / height, note, fontsize=8, color=QUIET, ha="center", va="center")


def _bounds(index: int) -> str:
    """The activities for which a level holds, in words."""
    least = palette.LEVELS[index].least
    if index == 0:
        return "none"
    if index == len(palette.LEVELS) - 1:
        return f"from {least:g}"
    return f"{least:g} to {palette.LEVELS[index + 1].least:g}"


def short(count: int) -> str:
    """At most four characters for any count: 980, 12k, 3.4M."""
    for unit, size in (("", 1), ("k", 1_000), ("M", 1_000_000), ("G", 1_000_000_000)):
        if count < 1000 * size or unit == "G":
            return f"{count / size:.1f}{unit}" if unit and count < 9.95 * size else f"{count // size}{unit}"
    raise AssertionError
