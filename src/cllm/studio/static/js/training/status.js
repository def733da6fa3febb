// The status line: what the training does in this moment, or what became of the last one.

import { h, setAttr, setHidden, setText } from "../dom.js";
import { bytes, compact, count, number, when } from "../format.js";
import { stateChip } from "../words.js";

/** The line; `update(view)` changes what differs. */
export function statusLine() {
  const chip = stateChip("ready");
  const text = h("strong", { class: "status-text", role: "status" });
  const about = h("span", { class: "status-about number" });
  const links = {
    model: h("a", { class: "button small", href: "/llm" }, "Try the model"),
    benchmarks: h("a", { class: "button small" }, "Benchmarks"),
    run: h("a", { class: "button small" }, "Run details"),
  };
  const node = h(
    "section",
    { class: "status-line", "aria-label": "Status" },
    chip.chip,
    h("p", { class: "status-words" }, text, " ", about),
    h("span", { class: "status-links" }, links.model, links.benchmarks, links.run),
  );
  return {
    node,
    update(view) {
      const run = view?.run;
      const state = run?.state ?? "ready";
      chip.update(state);
      setText(text, said(view, state));
      setAttr(text, "class", state === "failed" ? "status-text bad" : "status-text");
      setText(about, run ? aboutRun(view) : "");
      setHidden(links.model, state !== "done");
      setHidden(links.benchmarks, !run || run.running || !view.step);
      setHidden(links.run, !run);
      setAttr(links.benchmarks, "href", run ? `/benchmarks/${run.id}` : null);
      setAttr(links.run, "href", run ? `/runs/${run.id}` : null);
    },
  };
}

function said(view, state) {
  const { run, stage } = view ?? {};
  const last = run ? `Last training, ${when(run.started)}:` : "";
  switch (state) {
    case "ready":
      return "Choose data, then press START TRAINING.";
    case "preparing":
      return "Preparing the training.";
    case "training":
      return stage?.stage === "saving" ? "Saving the model." : "The spheres are at work.";
    case "stopping":
      return "Stopping after this step.";
    case "done":
      return `${last} complete, its model is saved.`;
    case "interrupted":
      return `${last} interrupted. It can be resumed.`;
    case "failed":
      return `${last} failed. ${run.reason ?? ""}`;
    default:
      return `${last} ${run.reason ?? state}.`;
  }
}

function aboutRun({ run, plan, corpus }) {
  return [
    run.name,
    corpus && `${count(corpus.files)} file${corpus.files === 1 ? "" : "s"}, ${bytes(corpus.train_bytes)}`,
    plan && `${compact(plan.parameters)} parameters`,
    plan?.expected_bits_per_byte && `about ${number(plan.expected_bits_per_byte)} bits/byte expected`,
    plan && `${count(plan.ranks)} worker${plan.ranks === 1 ? "" : "s"}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
