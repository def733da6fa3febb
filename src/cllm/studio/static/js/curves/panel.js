// The curves of one run: loss of training and of held-out text; learning rate and gradient norm on demand.

import { h, setAttr, setHidden } from "../dom.js";
import { chartChoices } from "./choices.js";
import { columnSeries, trainingSeries, validationSeries } from "./series.js";
import { plot } from "./plot.js";
import { segments, toggle } from "../segments.js";

const WHAT = [
  ["loss", "Loss"],
  ["learning_rate", "Learning rate"],
  ["grad_norm", "Gradient norm"],
  ["tokens_per_s", "Tokens/s"],
];

const DRAW_EVERY_MS = 1000; // while figures stream in

/** The panel of the run that `runId()` names. `update(source)` with {view, curve} draws; `destroy()` at the end. */
export function curvePanel(runId, { height } = {}) {
  let source = null;
  let timer = null;
  let drawnAt = -Infinity;
  const redraw = () => {
    if (source) draw();
  };
  const what = segments("Figure", WHAT, "loss", redraw);
  const { axis, unit, log } = chartChoices(redraw);
  const raw = toggle("Every step", true, redraw, "cllm-runs-raw");
  const place = h("div", {});
  const none = h("p", { class: "empty" }, "There is no step yet.");
  const csv = h("a", { class: "button small", download: true }, "CSV");
  const whole = h("button", { class: "button small", type: "button", on: { click: () => chart.reset() } }, "Reset zoom");
  const png = h("button", { class: "button small", type: "button", on: { click: savePicture } }, "PNG");
  const tools = [whole, csv, png];
  const chart = plot(place, { height, label: "Curves of the run; their last values are in the legend below" });
  const node = h(
    "section",
    { class: "panel curve-panel", "aria-labelledby": "curves-head" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", { id: "curves-head" }, "Curves"),
      what.node,
      h("span", { class: "spacer" }),
      tools,
    ),
    h("div", { class: "row plot-tools" }, axis.node, unit.node, raw.node, log.node),
    none,
    place,
  );

  function savePicture() {
    const name = WHAT.find(([one]) => one === what.value())[1].toLowerCase();
    const canvas = chart.picture(`${source?.view?.run?.name ?? ""} · ${runId()} · ${name}`);
    canvas?.toBlob((blob) => {
      const href = URL.createObjectURL(blob);
      h("a", { href, download: `${runId()}-${name.replaceAll(/\W+/g, "-")}.png` }).click();
      setTimeout(() => URL.revokeObjectURL(href), 10_000);
    });
  }

  function draw() {
    timer = null;
    drawnAt = performance.now();
    setAttr(csv, "href", runId() ? `/api/runs/${runId()}/curve.csv` : null);
    const [key, , xLabel, xText] = axis.chosen();
    const isLoss = what.value() === "loss";
    const some = source.curve.steps.step.length > 0 || source.curve.validations.length > 0;
    setHidden(none, some);
    setHidden(place, !some);
    for (const tool of tools) setHidden(tool, !some);
    setHidden(unit.node, !isLoss);
    setHidden(raw.node, !isLoss);
    const y = unit.value();
    const series = isLoss
      ? [
          raw.value() && {
            label: "training",
            colour: "--series-1",
            faint: true,
            ...trainingSeries(source, key, y, false),
          },
          { label: "training, smoothed", colour: "--series-1", ...trainingSeries(source, key, y, true) },
          { label: "held out", colour: "--series-2", points: true, ...validationSeries(source, key, y) },
        ].filter(Boolean)
      : [
          {
            label: WHAT.find(([one]) => one === what.value())[1],
            colour: "--series-3",
            ...columnSeries(source, what.value(), key),
          },
        ];
    const yLabel = isLoss
      ? y === "bits"
        ? "loss, bits/byte"
        : "loss, nats/token"
      : WHAT.find(([one]) => one === what.value())[1].toLowerCase();
    chart.show({ series, xLabel, yLabel, xText, logY: log.value() });
  }

  return {
    node,
    update: (next) => {
      source = next;
      const wait = drawnAt + DRAW_EVERY_MS - performance.now();
      if (wait <= 0) draw();
      else timer ??= setTimeout(draw, wait);
    },
    destroy: () => {
      clearTimeout(timer);
      chart.destroy();
    },
  };
}
