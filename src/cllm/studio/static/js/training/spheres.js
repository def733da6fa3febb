// The spheres round the control sphere: colour by activity, microbatch counts, and which ones compute now.

import { h, setAttr, setHidden, setText, svg } from "../dom.js";
import { count } from "../format.js";
import { colourOf, levelOf, levels } from "../palette.js";
import { progressOf } from "./progress.js";
import { epoch } from "../words.js";

const CONTROL_RADIUS = 0.44; // the ring has radius 1, as in cllm.report.palette
const DIAL_RADIUS = 0.475; // of the progress round the control sphere
const FINE = 100; // browsers measure dashes too coarsely for circles of less than a unit
const CALM_MS = 1000; // between changes, where the system asks for reduced motion
const LARGEST_RADIUS = 0.213;
const EDGE = 1.265;

/** The panel; `update(view)` changes what differs. The spheres are built once for a number of them. */
export function spheresPanel() {
  const picture = svg("svg", {
    class: "spheres", viewBox: `${-EDGE} ${-EDGE} ${2 * EDGE} ${2 * EDGE}`, role: "img",
    "aria-label": "Spheres round the control sphere; the table beside holds the same figures",
  });
  const shine = svg("radialGradient", { id: "shine", cx: "0.34", cy: "0.28", r: "0.85" },
    svg("stop", { offset: "0", "stop-color": "#fff", "stop-opacity": "0.34" }),
    svg("stop", { offset: "0.45", "stop-color": "#fff", "stop-opacity": "0" }),
    svg("stop", { offset: "1", "stop-color": "#000", "stop-opacity": "0.3" }));
  const active = h("span", { class: "chip number" });
  const many = h("span", { class: "number" });
  const mark = h("span", { class: "dot ringed", "aria-hidden": "true" });
  const computing = h("span", { class: "computing-now" }, mark, many);
  const node = h("section", { class: "panel spheres-panel", "aria-labelledby": "spheres-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "spheres-head" }, "Spheres"), active,
      h("span", { class: "spacer" }), computing),
    picture, legend());
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let drawnAt = -Infinity;
  let parts = [];
  let control = null;

  function build(number) {
    const circles = ring(number);
    const lines = circles.map(({ x, y }) =>
      svg("line", { class: "spoke", x1: x / 2, y1: y / 2, x2: x, y2: y }));
    control = {
      first: svg("text", { class: "control-word", y: -0.13 }),
      main: svg("text", { class: "control-main", y: 0.045 }),
      last: svg("text", { class: "control-word", y: 0.2 }),
    };
    parts = circles.map(({ x, y, radius }, i) => {
      const body = svg("circle", { r: radius });
      const name = svg("text", { class: "sphere-word", y: -0.094 }, String(i));
      const batches = svg("text", { class: "sphere-count", y: 0.034 }, "0");
      const level = svg("text", { class: "sphere-word", y: 0.113 });
      const group = svg("g", { class: "sphere", transform: `translate(${x} ${y})` },
        svg("circle", { class: "halo", r: radius + 0.026 }), body,
        svg("circle", { r: radius, fill: "url(#shine)" }), name, batches, level);
      return { group, body, texts: [name, batches, level], batches, level, line: lines[i] };
    });
    control.done = svg("circle", {
      class: "control-done", r: DIAL_RADIUS * FINE, transform: `rotate(-90) scale(${1 / FINE})`,
    });
    picture.replaceChildren(svg("defs", {}, shine), ...lines,
      svg("circle", { class: "control-track", r: DIAL_RADIUS }), control.done,
      svg("circle", { class: "control", r: CONTROL_RADIUS }),
      svg("circle", { r: CONTROL_RADIUS, fill: "url(#shine)" }),
      control.first, control.main, control.last, ...parts.map((part) => part.group));
  }

  build(12);
  return {
    node,
    update(view, spheresWanted = 12) {
      const now = performance.now();
      if (calm.matches && view?.run?.running && now - drawnAt < CALM_MS) return;
      drawnAt = now;
      const spheres = view?.spheres ?? [];
      const number = spheres.length || spheresWanted;
      if (number !== parts.length) build(number);
      parts.forEach((part, i) => {
        const one = spheres[i] ?? { microbatches: 0, activity: 0, state: "idle" };
        const level = levelOf(one.activity);
        const isComputing = one.state === "computing";
        setAttr(part.body, "fill", colourOf(one.activity));
        for (const text of part.texts) setAttr(text, "fill", level.ink);
        setText(part.batches, brief(one.microbatches));
        setText(part.level, level.name);
        setAttr(part.group, "class", isComputing ? "sphere computing" : "sphere");
        setAttr(part.line, "class", isComputing ? "spoke computing" : "spoke");
      });
      const run = view?.run;
      setAttr(node, "class", `panel spheres-panel ${run?.running ? "" : (run?.state ?? "")}`);
      const atWork = spheres.filter((one) => one.state === "computing").length;
      setText(active, `${view?.totals?.active ?? 0}/${number} active`);
      setAttr(active, "class", view?.totals?.active ? "chip number good" : "chip number");
      setText(many, `${atWork} computing now`);
      setHidden(computing, run?.state !== "training");
      const step = view?.step;
      const round = 2 * Math.PI * DIAL_RADIUS * FINE;
      const done = progressOf(view ?? {}) * round;
      setAttr(control.done, "stroke-dasharray", `${done.toFixed(1)} ${round.toFixed(1)}`);
      setText(control.first, step ? "step" : "control");
      setText(control.main, step ? count(step.step) : "–");
      setText(control.last, step ? `epoch ${epoch(step.epoch)}` : "no step yet");
    },
  };
}

/** A count that fits into a sphere; the table has it in full. */
function brief(value) {
  if (value < 1e4) return count(value);
  const [unit, sign] = value < 1e6 ? [1e3, "k"] : [1e6, "M"];
  return `${Number((value / unit).toPrecision(3))} ${sign}`;
}

function ring(number) {
  const radius = Math.min(LARGEST_RADIUS, 0.84 * (number > 1 ? Math.sin(Math.PI / number) : 1));
  return Array.from({ length: number }, (_, i) => {
    const angle = (2 * Math.PI * i) / number;
    return { x: Math.sin(angle).toFixed(4), y: (-Math.cos(angle)).toFixed(4), radius };
  });
}

/** What the colours mean: activity relative to an even share. */
function legend() {
  const all = levels();
  const range = (i) =>
    i === 0 ? "nothing" : i + 1 < all.length ? `${all[i].least} to ${all[i + 1].least}` : `over ${all[i].least}`;
  const label = "Colours: activity, where 1 is an even share of the tokens";
  return h("ul", { class: "sphere-legend", "aria-label": label },
    all.map((level, i) => {
      const dot = h("span", { class: "dot", "aria-hidden": "true" });
      const last = i + 1 === all.length; // the one level that is a range of colours
      dot.style.background = last ? `linear-gradient(90deg, ${level.colour} 25%, ${colourOf(Infinity)} 75%)` : level.colour;
      return h("li", { title: `${range(i)} of an even share` }, dot, level.name);
    }));
}
