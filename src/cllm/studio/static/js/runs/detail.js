// One run: its curves, result, plan, settings, data, spheres, samples, checkpoints, notes and log.

import { get } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { bytes, clock, compact, count, number, percent, when } from "../format.js";
import { blocked, clone, remove, resume, unresumable } from "./actions.js";
import { curvePanel } from "../curves/panel.js";
import { notesEditor } from "./notes.js";
import { showMessages } from "../messages.js";
import { samplesPanel } from "../samples.js";
import { factsPanel, settingsPanel, tablePanel } from "./panels.js";
import { epoch, isBusy, planRows, results, shown, stateChip } from "../words.js";

const DRAW_EVERY_MS = 1000;

/** Build the page of run `id` into `root`; returns what takes it away. */
export function mountDetail(root, context, id) {
  const page = h("div", { class: "stack" });
  root.append(page);
  let parts = null;
  let gone = false;
  let timer = null;
  let run = null;
  let fetched = null;

  const isLive = () => context.live.view?.run?.id === id;
  const source = () => (isLive() ? context.live : fetched);

  async function load() {
    try {
      const [details, view, models] = await Promise.all([
        get(`/api/runs/${id}`),
        get(`/api/runs/${id}/view`),
        get("/api/models"),
      ]);
      if (gone) return;
      run = details;
      fetched = view;
      if (!parts) {
        parts = build(context, run);
        page.replaceChildren(...parts.nodes);
      }
      parts.details(
        run,
        models.models.filter((model) => model.run === id),
      );
      parts.draw(run, source());
    } catch (error) {
      if (gone || parts) return;
      page.replaceChildren(
        h("h1", {}, "Run ", h("span", { class: "mono" }, id)),
        h(
          "section",
          { class: "panel empty" },
          h("h2", {}, error.status === 404 ? "There is no such run" : "This run cannot be shown"),
          h("p", {}, error.message),
          h("p", { class: "runs-start" }, h("a", { class: "button", href: "/runs" }, "All runs")),
        ),
      );
    }
  }

  function later() {
    timer ??= setTimeout(() => {
      timer = null;
      if (!parts || !isLive()) return;
      const { step, run: state } = context.live.view;
      run = { ...run, state: state.state, reason: state.reason ?? run.reason };
      if (step)
        Object.assign(run, {
          step: step.step,
          steps: step.steps,
          epoch: step.epoch,
          loss: step.loss,
          elapsed_s: step.elapsed_s,
        });
      parts.draw(run, source());
    }, DRAW_EVERY_MS);
  }
  const streamed = () => {
    if (isLive() && run && (isBusy(run.state) || context.live.view.run.running)) later();
  };
  const changed = () => load();
  context.live.addEventListener("view", streamed);
  context.live.addEventListener("curve", streamed);
  context.live.addEventListener("changed", changed);
  load();
  return () => {
    gone = true;
    clearTimeout(timer);
    context.live.removeEventListener("view", streamed);
    context.live.removeEventListener("curve", streamed);
    context.live.removeEventListener("changed", changed);
    parts?.leave();
  };
}

function build(context, first) {
  const header = runHeader(context, first, () => context.navigate("/runs"));
  const curves = curvePanel(() => first.id);
  const notes = notesEditor(first.id, first.notes);
  const result = factsPanel("Result");
  const plan = factsPanel("Plan");
  const data = factsPanel("Data");
  const settings = settingsPanel(context.meta);
  const spheres = tablePanel("Spheres", ["Sphere", "Batches", "Tokens", "Average loss", "Share"]);
  const models = tablePanel("Models and checkpoints", ["File", "Kind", "Epoch", "Bits/byte", "Size"]);
  const samples = samplesPanel();
  const messages = h("section", { class: "panel", hidden: true });
  const log = h("pre", { class: "code log" });
  const logFold = h("details", { class: "panel" }, h("summary", {}, "End of the log"), log);
  return {
    nodes: [
      header.node,
      messages,
      h(
        "div",
        { class: "run-top" },
        h("div", { class: "stack" }, curves.node, samples.node, notes.node),
        h("div", { class: "stack run-side" }, result.node, data.node),
      ),
      h(
        "div",
        { class: "run-low" },
        settings.node,
        plan.node,
        spheres.node,
        models.node,
      ),
      logFold,
    ],
    details(run, found) {
      settings.show(run);
      setText(log, run.log_tail || "The log is empty.");
      models.show(
        found.map((model) => [
          model.problem
            ? model.name
            : h(
                "a",
                {
                  class: "mono",
                  href: `/llm?model=${encodeURIComponent(model.id)}`,
                  title: `${model.path}, made ${when(model.created)}`,
                },
                model.id.split("/").at(-1),
              ),
          model.problem ?? model.label,
          epoch(model.epoch),
          number(model.bits_per_byte, 4),
          bytes(model.bytes),
        ]),
        "No model or checkpoint of this run is left.",
      );
    },
    draw(run, source) {
      const { view, curve } = source;
      header.show(run);
      result.show(results(run, view, curve).map(([name, text]) => [name, text]));
      plan.show(planRows(view.plan), "It did not come to a plan.");
      data.show(dataRows(run, view.corpus), "");
      curves.update({ view, curve });
      spheres.show(
        (view.spheres ?? []).map((one) => [
          String(one.sphere),
          count(one.microbatches),
          compact(one.tokens),
          number(one.loss, 3),
          percent(one.tokens / view.totals.tokens, 1),
        ]),
        "No sphere has reported.",
      );
      samples.show(curve);
      showMessages(messages, view.messages ?? []);
    },
    leave() {
      notes.flush();
      curves.destroy();
    },
  };
}

function runHeader(context, first, gone) {
  let run = first;
  const chip = stateChip(first.state);
  const reason = h("span", {});
  const dates = h("span", { class: "muted number" });
  const watch = h("a", { class: "button primary", href: "/training" }, "Watch it live");
  const button = (label, act, kind = "") =>
    h("button", { class: `button ${kind}`, type: "button", on: { click: act } }, label);
  const more = button("Resume", () => resume(run, context));
  const away = button("Delete…", () => remove(run, gone));
  const node = h(
    "header",
    { class: "run-head" },
    h(
      "div",
      { class: "run-title" },
      h(
        "p",
        { class: "small" },
        h("a", { href: "/runs" }, "Runs"),
        h("span", { class: "muted", "aria-hidden": "true" }, " / "),
      ),
      h("h1", {}, h("span", { class: "run-id" }, first.id), chip.chip),
      h("p", { class: "row" }, h("span", { class: "muted" }, first.name), dates, reason),
    ),
    h(
      "div",
      { class: "row" },
      watch,
      more,
      button("Clone settings", () => clone(run, context)),
      h("a", { class: "button", href: `/benchmarks/${first.id}` }, "Benchmarks"),
      away,
    ),
  );
  return {
    node,
    show(next) {
      run = next;
      const why = blocked(run);
      chip.update(run.state);
      setText(dates, `started ${when(run.started)} · trained for ${clock(run.elapsed_s ?? undefined)}`);
      setText(reason, run.reason ?? "");
      setAttr(reason, "class", run.state === "failed" ? "bad" : "muted");
      setHidden(watch, !isBusy(run.state));
      setHidden(more, isBusy(run.state));
      setText(more, run.state === "done" ? "Train on…" : "Resume");
      const stuck = unresumable(run);
      more.disabled = Boolean(stuck);
      setAttr(more, "title", stuck || null);
      away.disabled = Boolean(why);
      setAttr(away, "title", why || null);
    },
  };
}

function dataRows(run, corpus) {
  const rows = [
    [
      "From",
      [...run.paths, run.stdlib ? "Python's standard library" : null].filter(Boolean).join(", ") || "–",
    ],
  ];
  if (run.only) rows.push(["Chosen", `${count(run.only.length)} file${run.only.length === 1 ? "" : "s"}`]);
  if (!corpus) return rows;
  const listed = (all) =>
    Object.entries(all ?? {})
      .sort((a, b) => b[1] - a[1])
      .map(([name, many]) => `${name} ${count(many)}`)
      .join(", ") || "–";
  return rows.concat(
    [
      ["Files", count(corpus.files)],
      ["Text", bytes(corpus.train_bytes + corpus.validation_bytes + corpus.test_bytes)],
      ["Tokens", compact(corpus.tokens)],
      ["For training", bytes(corpus.train_bytes)],
      ["Held out", `${bytes(corpus.validation_bytes)} validation, ${bytes(corpus.test_bytes)} test`],
      ["Languages", listed(corpus.languages)],
      ["Left out", listed(corpus.left_out)],
    ].map(([name, text]) => [name, shown(text)]),
  );
}
