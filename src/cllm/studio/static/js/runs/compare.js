// Several runs side by side: their curves in one chart, their settings and results in one table.

import { get } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { count, when } from "../format.js";
import { chartChoices } from "../curves/choices.js";
import { plot } from "../curves/plot.js";
import { trainingSeries, validationSeries } from "../curves/series.js";
import { toggle } from "../segments.js";
import {
  firstLine,
  isBusy,
  planRows,
  results,
  settingNames,
  settingText,
  stateChip,
  words,
} from "../words.js";

const MOST = 6;
const RELOAD_MS = 5000; // while one of them trains

/** Build the comparison of `ids` into `root`; returns what takes it away. */
export function mountCompare(root, context, ids) {
  const wanted = [...new Set(ids)].slice(0, MOST);
  const page = h("div", { class: "stack" }, h("h1", {}, "Compare runs"));
  root.append(page);
  let gone = false;
  let timer = null;
  let parts = null;

  async function load() {
    clearTimeout(timer);
    const found = await Promise.allSettled(wanted.map(one));
    if (gone) return;
    const runs = found.filter(({ status }) => status === "fulfilled").map(({ value }) => value);
    const lost = found.flatMap(({ status, reason }, i) =>
      status === "rejected" ? [`${wanted[i]}: ${reason.message}`] : [],
    );
    if (!parts && runs.length >= 2) {
      parts = build(context.meta, wanted);
      page.append(...parts.nodes);
    } else if (!parts) {
      page.replaceChildren(
        h("h1", {}, "Compare runs"),
        h(
          "section",
          { class: "panel empty" },
          h("h2", {}, "Two runs at least are needed"),
          h("p", {}, lost.join("; ") || "Tick 2 to 6 runs in the list, then press Compare."),
          h("p", { class: "runs-start" }, h("a", { class: "button primary", href: "/runs" }, "Choose runs")),
        ),
      );
      return;
    }
    parts.show(runs, lost);
    if (runs.some(({ run }) => isBusy(run.state))) timer = setTimeout(load, RELOAD_MS);
  }
  const changed = () => load();
  context.live.addEventListener("changed", changed);
  load();
  return () => {
    gone = true;
    clearTimeout(timer);
    context.live.removeEventListener("changed", changed);
    parts?.leave();
  };
}

async function one(id) {
  const [run, view] = await Promise.all([
    get(`/api/runs/${encodeURIComponent(id)}`),
    get(`/api/runs/${encodeURIComponent(id)}/view`),
  ]);
  return { run, ...view };
}

function build(meta, wanted) {
  let runs = [];
  const redraw = () => {
    if (runs.length) draw();
  };
  const { axis, unit, log } = chartChoices(redraw);
  const training = toggle("Training loss, smoothed", false, redraw, "cllm-compare-training");
  const place = h("div", {});
  const chart = plot(place, {
    height: 400,
    label: "Losses of the runs over each other; their last values are in the legend below",
  });
  const problem = h("p", { class: "panel bad", role: "alert", hidden: true });
  const curves = h(
    "section",
    { class: "panel", "aria-labelledby": "compare-curves" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", { id: "compare-curves" }, "Held-out loss"),
      h("span", { class: "spacer" }),
      h(
        "button",
        { class: "button small", type: "button", on: { click: () => chart.reset() } },
        "Whole runs",
      ),
    ),
    h("div", { class: "row plot-tools" }, axis.node, unit.node, training.node, log.node),
    place,
  );
  const only = toggle(
    "Only differences",
    false,
    (on) => setAttr(table.node, "class", on ? "scroll only-different" : "scroll"),
    "cllm-compare-only",
  );
  const table = comparison(meta, wanted);
  if (only.value()) setAttr(table.node, "class", "scroll only-different");

  const colourOf = ({ run }) => `--series-${1 + wanted.indexOf(run.id)}`;
  const labelOf = ({ run }) => {
    const short = (one) => `${one.name} · ${one.id.split("-").at(-1)}`;
    return runs.filter((other) => short(other.run) === short(run)).length > 1 ? run.id : short(run);
  };

  function draw() {
    const [key, , xLabel, xText] = axis.chosen();
    const y = unit.value();
    const series = runs
      .flatMap((each) => [
        { label: labelOf(each), colour: colourOf(each), points: true, ...validationSeries(each, key, y) },
        training.value() && {
          label: `${labelOf(each)}, training`,
          colour: colourOf(each),
          dash: true,
          faint: true,
          ...trainingSeries(each, key, y, true),
        },
      ])
      .filter(Boolean);
    chart.show({
      series,
      xLabel,
      yLabel: y === "bits" ? "held-out loss, bits/byte" : "held-out loss, nats/token",
      xText,
      logY: log.value(),
    });
  }

  return {
    nodes: [
      problem,
      curves,
      h(
        "section",
        { class: "panel", "aria-labelledby": "compare-table" },
        h(
          "div",
          { class: "panel-head" },
          h("h2", { id: "compare-table" }, "Results and settings"),
          h("span", { class: "spacer" }),
          only.node,
        ),
        table.node,
      ),
    ],
    show(next, lost) {
      runs = next;
      setText(problem, lost.join("; "));
      setHidden(problem, lost.length === 0);
      draw();
      table.show(runs, colourOf);
    },
    leave: chart.destroy,
  };
}

function comparison(meta, wanted) {
  const head = h("thead", {});
  const table = h(
    "table",
    { class: "table compare-table" },
    h("caption", { class: "visually-hidden" }, "Results and settings of the runs"),
    head,
  );
  const node = h("div", { class: "scroll" }, table);

  function heading({ run }, colour, many) {
    const mark = h("span", { class: "plot-mark", "aria-hidden": "true" });
    mark.style.color = `var(${colour})`;
    const rest = wanted.filter((id) => id !== run.id);
    return h(
      "th",
      { scope: "col" },
      h(
        "div",
        { class: "compare-run" },
        mark,
        h("a", { class: "mono", href: `/runs/${run.id}` }, run.id),
        many > 2 &&
          h(
            "a",
            {
              class: "button quiet small",
              href: `/compare?runs=${rest.join(",")}`,
              "aria-label": `Leave ${run.id} out`,
              title: "Leave out",
            },
            "✕",
          ),
      ),
      h(
        "div",
        { class: "row compare-sub" },
        stateChip(run.state).chip,
        h("span", { class: "small muted" }, run.name),
      ),
    );
  }

  /** Results differ by nature: only the best is marked there (`best` is given), and they are never hidden. Runs of which
   * it is not `known` differ from nothing. */
  function row(name, texts, best = null, known = texts) {
    const differs = !best && new Set(texts.filter((_, i) => known[i])).size > 1;
    return h(
      "tr",
      { class: best ? "result" : differs ? "different" : null },
      h(
        "th",
        { scope: "row" },
        name,
        differs &&
          h(
            "span",
            { class: "differs", title: "differs" },
            h("span", { class: "visually-hidden" }, " differs"),
          ),
      ),
      texts.map((text, i) =>
        h(
          "td",
          { class: best?.includes(i) ? "best" : "" },
          text,
          best?.includes(i) && h("span", { class: "best-mark" }, "best"),
        ),
      ),
    );
  }

  /** Which values are best; none if all look the same. */
  function bestOf(values, direction, texts) {
    const known = values.filter(Number.isFinite);
    if (!direction || known.length < 2 || new Set(texts).size === 1) return [];
    const best = direction === "low" ? Math.min(...known) : Math.max(...known);
    return values.flatMap((value, i) => (value === best ? [i] : []));
  }

  function group(title, rows, many) {
    const name = h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: many + 1 }, title));
    const quiet = h(
      "tr",
      { class: "no-difference" },
      h("td", { class: "muted small", colspan: many + 1 }, "no difference"),
    );
    const differs = rows.some((one) => one.className);
    return h("tbody", {}, name, rows, differs ? null : quiet);
  }

  return {
    node,
    show(runs, colourOf) {
      const many = runs.length;
      head.replaceChildren(
        h(
          "tr",
          {},
          h("td", {}),
          runs.map((each) => heading(each, colourOf(each), many)),
        ),
      );
      const figures = runs.map(({ run, view, curve }) => results(run, view, curve));
      const resultRows = figures[0].map(([name, , , direction], i) => {
        const texts = figures.map((each) => each[i][1]);
        return row(
          name,
          texts,
          bestOf(
            figures.map((each) => each[i][2]),
            direction,
            texts,
          ),
        );
      });
      resultRows.push(
        row(
          "Started",
          runs.map(({ run }) => when(run.started)),
          [],
        ),
        row(
          "Notes",
          runs.map(({ run }) => firstLine(run.notes) || "–"),
          [],
        ),
      );
      const settingRows = settingNames(meta).map((name) =>
        row(
          words(name),
          runs.map(({ run }) => settingText(meta, name, run.settings[name])),
        ),
      );
      const plans = runs.map(({ view }) => new Map(planRows(view.plan)));
      const planNames = [...new Set(plans.flatMap((plan) => [...plan.keys()]))];
      const data = (of) => runs.map(({ run, view }) => of(run, view.corpus ?? {}));
      const dataRows = [
        row(
          "From",
          data(
            (run) =>
              [...run.paths, run.stdlib ? "Python's standard library" : null].filter(Boolean).join(", ") ||
              "–",
          ),
        ),
        row(
          "Files",
          data((run, corpus) => count(corpus.files)),
          null,
          data((run, corpus) => corpus.files),
        ),
        row(
          "Tokens",
          data((run, corpus) => count(corpus.tokens)),
          null,
          data((run, corpus) => corpus.tokens),
        ),
      ];
      for (const body of [...table.tBodies]) body.remove();
      table.append(
        group("Results", resultRows, many),
        group("Settings", settingRows, many),
        group(
          "Plan: what it really used",
          planNames.map((name) =>
            row(
              name,
              plans.map((plan) => plan.get(name) ?? "–"),
              null,
              plans.map((plan) => plan.size > 0),
            ),
          ),
          many,
        ),
        group("Data", dataRows, many),
      );
    },
  };
}
