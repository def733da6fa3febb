// How far the training is: the whole run and the epoch, and the figures of the moment.

import { h, setHidden, setText } from "../dom.js";
import { bytes, clock, count, number, percent, when } from "../format.js";
import { epoch } from "../words.js";

const FIGURES = [
  ["batch", "Batch", "Optimizer steps"], ["loss", "Loss", "Training loss of the last step, nats a token"],
  ["best", "Best loss", "Least training loss of a step so far, nats a token"],
  ["held", "Held out", "Bits per byte of files that are not trained on; in brackets the best so far"],
  ["rate", "Tokens/s", "Over the last steps"], ["elapsed", "Elapsed", "Since the start, without pauses"], ["eta", "Time left", "To the end of the run"],
  ["cpu", "CPU", "All workers together; 100 % is one core"], ["memory", "Memory", "All workers together; in brackets the peak"],
  ["checkpoint", "Checkpoint", "When a checkpoint was last written"],
];

/** The panel; `update(view)` changes what differs. */
export function progressPanel() {
  const whole = bar("Whole run");
  const part = bar("Epoch");
  const values = Object.fromEntries(FIGURES.map(([key]) => [key, h("dd", { class: "number" })]));
  const node = h("section", { class: "panel progress-panel", "aria-label": "Progress" },
    h("div", { class: "bars" }, whole.node, part.node),
    h("dl", { class: "figures" }, FIGURES.map(([key, name, title]) => h("div", { title }, h("dt", {}, name), values[key]))));

  return {
    node,
    update(view) {
      const { step, plan, usage, validation, best, checkpoint, run } = view ?? {};
      const running = run?.running;
      whole.show(step?.progress ?? 0, step ? percent(step.progress) : "–");
      const done = step?.epoch ?? 0;
      const whole_ = done > 0 && Number.isInteger(done);
      const share = whole_ ? 1 : done % 1;
      const current = Math.max(1, Math.ceil(done));
      const of = plan?.epochs ? ` of ${epoch(plan.epochs)}` : "";
      part.show(step ? share : 0, step ? `${current}${of}` : "–");
      setText(values.batch, step ? (step.steps ? `${count(step.step)} of ${count(step.steps)}` : count(step.step)) : "–");
      setText(values.loss, number(step?.loss, 4));
      setText(values.best, number(step?.best_loss, 4));
      setText(values.held, validation ? number(validation.bits_per_byte, 3) + (best?.bits_per_byte ? ` (${number(best.bits_per_byte, 3)})` : "") : "–");
      setText(values.rate, step ? count(step.tokens_per_s) : "–");
      setText(values.elapsed, clock(step?.elapsed_s));
      setText(values.eta, running ? clock(step?.eta_s ?? NaN) : "–");
      setText(values.cpu, running ? percent((usage?.cpu_percent ?? NaN) / 100) : "–");
      setText(values.memory, usage ? (running ? `${bytes(usage.rss_bytes)} (${bytes(usage.peak_rss_bytes)})` : `– (${bytes(usage.peak_rss_bytes)})`) : "–");
      setText(values.checkpoint, checkpoint ? `${checkpoint.kind}, ${when(checkpoint.time)}` : "–");
    },
  };
}

function bar(name) {
  const id = `bar-${name.toLowerCase().replaceAll(" ", "-")}`;
  const track = h("progress", { id, max: 1, value: 0 });
  const text = h("span", { class: "number" });
  return {
    node: h("div", { class: "bar-row" }, h("label", { for: id }, name), track, text),
    show(share, words) {
      const value = Math.round(share * 1000) / 1000;
      if (track.value !== value) track.value = value;
      setText(text, words);
    },
  };
}

/** What the run does in this moment, in words, and how far preparing it is. */
export function statusPanel(stateChip) {
  const chip = stateChip("ready");
  const text = h("span", { class: "status-text" });
  const name = h("span", { class: "status-name" });
  const track = h("progress", { class: "status-bar", max: 1, "aria-label": "Progress of the preparation" });
  const links = {
    model: h("a", { class: "button small", href: "/llm" }, "Try the model"),
    benchmarks: h("a", { class: "button small" }, "Benchmarks"),
    run: h("a", { class: "button small" }, "Run"),
  };
  const node = h("section", { class: "status-line", "aria-label": "Status" },
    chip.chip, h("span", { role: "status", "aria-live": "polite" }, text), track, h("span", { class: "spacer" }), name,
    links.model, links.benchmarks, links.run);
  return {
    node,
    update(view) {
      const run = view?.run;
      const state = run?.state ?? "ready";
      chip.update(state);
      setText(text, said(view, state));
      setText(name, run ? `${run.name} · ${run.id}` : "");
      const preparing = state === "preparing" && view.stage?.total > 0;
      setHidden(track, !preparing);
      if (preparing) track.value = view.stage.done / view.stage.total;
      setHidden(links.model, state !== "done");
      setHidden(links.benchmarks, !run || run.running || !view.step);
      setHidden(links.run, !run);
      if (run) {
        links.benchmarks.setAttribute("href", `/benchmarks/${run.id}`);
        links.run.setAttribute("href", `/runs/${run.id}`);
      }
    },
  };
}

const STAGES = {
  starting: "Starting", scanning: "Scanning files", reading: "Reading files", redacting: "Redacting secrets",
  deduplicating: "Finding duplicates", splitting: "Splitting off files to hold out", writing: "Writing the training data",
  tokenizer: "Learning the vocabulary", tokenizing: "Tokenizing", planning: "Measuring this machine for the plan",
  compiling: "Compiling: the first steps are slow", "warming up": "Warming up", training: "Training", saving: "Saving",
};

function said(view, state) {
  const { run, stage } = view ?? {};
  switch (state) {
    case "ready": return "Choose data and press START TRAINING.";
    case "preparing": return `${STAGES[stage?.stage] ?? stage?.stage ?? "Starting"}…`;
    case "training": return stage?.stage === "saving" ? "Saving…" : "The spheres are at work.";
    case "stopping": return "Stopping after this step…";
    case "done": return "The last training is complete; its model is saved.";
    case "interrupted": return "The last training was interrupted. Resume goes on from its newest checkpoint.";
    case "failed": return `The last training failed: ${run.reason}`;
    default: return `The last training was ${run.reason ?? state}.`;
  }
}
