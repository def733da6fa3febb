// Curves in one chart, each with its own x values: nearest values under the pointer; drag to zoom.

import uPlot from "../../vendor/uplot/uPlot.esm.js";
import { h, setText } from "../dom.js";
import { short } from "../format.js";
import { token } from "../theme.js";

const HEIGHT = 340;
const WHOLE = [1, 2, 5].flatMap((one) => Array.from({ length: 10 }, (_, i) => one * 10 ** i)).sort((a, c) => a - c);
const font = "12px system-ui, sans-serif";
const ZOOM = 1.5; // of one key press
const PAN = 0.2; // of what is seen

/**
 * A chart in `element`. `show({series, xLabel, yLabel, xText, logY})` with series
 * [{label, colour: name of a token, x, y, points?, faint?, dash?}]
 * draws; the legend under it names the values at the pointer. `destroy()` takes it away.
 */
export function plot(element, { height = HEIGHT, label }) {
  const place = h("div", {
    class: "plot",
    role: "img",
    tabindex: "0",
    "aria-label": `${label}. Plus and minus zoom, the arrow keys move, 0 shows all`,
    title: "Drag to zoom; double-click shows all",
    on: {
      keydown: (event) => {
        const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
        if (chart && plain && keyed(event.key)) event.preventDefault();
      },
    },
  });
  const legend = h("ul", { class: "plot-legend" });
  element.append(place, legend);
  let chart = null;
  let shown = null;
  let frame = ""; // what a chart is built for; with other values of the same it stays
  let drawn = [];
  let entries = [];
  const hidden = new Set(); // labels; it outlives new data

  const watcher = new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (chart && width > 0 && width !== chart.width) chart.setSize({ width, height });
  });
  watcher.observe(place);

  function show(what, anew = false) {
    const zoom = chart && shown?.xLabel === what.xLabel && zoomed() ? { ...chart.scales.x } : null;
    shown = { xText: short, ...what };
    drawn = what.series.filter((one) => one.x.length);
    const curves = drawn.map((one) => [one.label, one.colour]);
    const next = JSON.stringify([what.xLabel, what.yLabel, what.logY, curves]);
    const data = drawn.length ? uPlot.join(drawn.map((one) => [one.x, one.y])) : null;
    if (chart && next === frame && !anew) chart.setData(data, !zoom);
    else build(data);
    frame = next;
    if (!chart) return;
    if (zoom) chart.setScale("x", { min: zoom.min, max: zoom.max });
    say();
  }

  function build(data) {
    chart?.destroy();
    chart = null;
    const { xLabel, yLabel, logY, xText } = shown;
    const [ink, line] = [token("--ink-2"), token("--line")];
    const axis = {
      stroke: ink,
      font,
      labelFont: font,
      labelSize: 22,
      grid: { stroke: line, width: 1 },
      ticks: { stroke: line, width: 1, size: 4 },
    };
    entries = drawn.map((one) => legendEntry(one));
    legend.replaceChildren(...entries.map((entry) => entry.node));
    if (!data) return;
    chart = new uPlot(
      {
        width: Math.floor(place.clientWidth) || 600,
        height,
        legend: { show: false },
        cursor: { drag: { x: true, y: false, setScale: true }, points: { size: 7 }, focus: { prox: 24 } },
        focus: { alpha: 0.35 },
        scales: { x: { time: false }, y: logY ? { distr: 3, range: (_, least, most) => (least > 0 ? [least / 1.05, most * 1.05] : [1, 10]) } : { distr: 1 } },
        axes: [
          { ...axis, label: xLabel, incrs: xLabel === "step" ? WHOLE : undefined, size: 34, values: (_, ticks) => ticks.map((tick) => xText(tick)) },
          {
            ...axis,
            label: yLabel,
            size: 56,
            values: (_, ticks) => ticks.map(tickText),
          },
        ],
        series: [
          {},
          ...drawn.map((one) => {
            const colour = token(one.colour);
            return {
              label: one.label,
              show: !hidden.has(one.label),
              spanGaps: true,
              stroke: colour,
              alpha: one.faint ? 0.55 : 1,
              width: one.faint ? 1 : 2,
              dash: one.dash ? [5, 4] : undefined,
              points: { show: Boolean(one.points), size: 5, fill: colour },
            };
          }),
        ],
        hooks: { setCursor: [(u) => { if (u === chart) say(); }] },
      },
      data,
      place,
    );
  }

  function zoomed() {
    const x = chart.data[0];
    return chart.scales.x.min > x[0] || chart.scales.x.max < x.at(-1);
  }

  /** Zoom or move by a key; false for other keys. */
  function keyed(key) {
    const { min, max } = chart.scales.x;
    const [first, last] = [chart.data[0][0], chart.data[0].at(-1)];
    const half = (max - min) / 2;
    const widths = { "+": 1 / ZOOM, "=": 1 / ZOOM, "-": ZOOM, ArrowLeft: 1, ArrowRight: 1, 0: Infinity };
    if (!(key in widths)) return false;
    const wanted = Math.min(half * widths[key], (last - first) / 2);
    const by = key === "ArrowLeft" ? -PAN : key === "ArrowRight" ? PAN : 0;
    const middle = Math.min(last - wanted, Math.max(first + wanted, min + half + by * 2 * half));
    if (wanted > 0) chart.setScale("x", { min: middle - wanted, max: middle + wanted });
    return true;
  }

  function legendEntry(one) {
    const mark = h("span", {
      class: `plot-mark${one.dash ? " dashed" : one.faint ? " faint" : ""}`,
      "aria-hidden": "true",
    });
    mark.style.color = `var(${one.colour})`;
    const value = h("span", { class: "number muted" });
    const button = h(
      "button",
      {
        class: "plot-key",
        type: "button",
        "aria-pressed": String(!hidden.has(one.label)),
        title: "Show or hide this curve",
        on: { click: () => toggle(one.label, button) },
      },
      mark,
      h("span", {}, one.label),
      value,
    );
    return { node: h("li", {}, button), value };
  }

  function toggle(name, button) {
    if (hidden.has(name)) hidden.delete(name);
    else hidden.add(name);
    button.setAttribute("aria-pressed", String(!hidden.has(name)));
    const at = chart.series.findIndex((one) => one.label === name);
    chart.setSeries(at, { show: !hidden.has(name) });
  }

  /** The values next to the pointer, or the last ones. */
  function say() {
    const { xText } = shown;
    const at = chart.cursor.idx;
    const x = at === null || at === undefined ? null : chart.data[0][at];
    entries.forEach((entry, i) => {
      const { x: xs, y: ys } = drawn[i];
      const k = x === null ? xs.length - 1 : nearest(xs, x);
      setText(entry.value, `${short(ys[k])}${x === null ? "" : ` at ${xText(xs[k])}`}`);
    });
  }

  const recolour = () => {
    if (shown) show(shown, true);
  };
  addEventListener("themechange", recolour);
  return {
    show,
    reset: () => {
      if (chart) chart.setScale("x", { min: chart.data[0][0], max: chart.data[0].at(-1) });
    },
    /** The chart as a canvas with a background and a title. */
    picture: (title) => chart && picture(chart.ctx.canvas, title, drawn),
    destroy: () => {
      removeEventListener("themechange", recolour);
      watcher.disconnect();
      chart?.destroy();
    },
  };
}

function picture(source, title, curves) {
  const scale = devicePixelRatio;
  const [head, foot] = [36 * scale, 30 * scale];
  const canvas = h("canvas", { width: source.width, height: source.height + head + foot });
  const pen = canvas.getContext("2d");
  pen.fillStyle = token("--panel");
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, head);
  pen.textBaseline = "middle";
  pen.font = `600 ${14 * scale}px system-ui, sans-serif`;
  pen.fillStyle = token("--ink");
  pen.fillText(title, 14 * scale, head / 2);
  pen.font = `${12 * scale}px system-ui, sans-serif`;
  let x = 14 * scale;
  const y = canvas.height - foot / 2;
  for (const { label, colour, faint } of curves) {
    pen.globalAlpha = faint ? 0.55 : 1;
    pen.fillStyle = token(colour);
    pen.fillRect(x, y - scale, 18 * scale, 3 * scale);
    pen.globalAlpha = 1;
    pen.fillStyle = token("--ink-2");
    pen.fillText(label, x + 24 * scale, y);
    x += 44 * scale + pen.measureText(label).width;
  }
  return canvas;
}

/** What stands at the vertical axis; null where a logarithmic one has no room for a text. */
function tickText(tick) {
  if (tick === null) return "";
  const value = Number(tick.toPrecision(6));
  return value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(value);
}

/** The index of the value of the ascending `xs` nearest to `x`. */
function nearest(xs, x) {
  let [low, high] = [0, xs.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
}
