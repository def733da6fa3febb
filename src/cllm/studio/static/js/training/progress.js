// How far the training is: preparing it, the whole run and the epoch, and the figures of the moment.

import { h, setAttr, setHidden, setText } from "../dom.js";
import { bytes, clock, count, number, percent, when } from "../format.js";
import { epoch } from "../words.js";

const FIGURES = [
  ["batch", "Batch", "Optimizer steps done, of those planned"],
  ["loss", "Loss", "Of the last training step, in nats a token; below it the least of any step"],
  ["held", "Held out", "Bits per byte of files that are not trained on; below it the best so far"],
  ["rate", "Tokens/s", "Trained tokens a second, over the last steps"],
  ["elapsed", "Elapsed", "Time of the run, without pauses"],
  ["left", "Time left", "To the end of the run"],
  ["cpu", "CPU", "All processes of the run; 100 % is one core"],
  ["memory", "Memory", "All processes of the run; below it the most so far"],
  ["saved", "Saved", "When a checkpoint was last written, and which"],
];

const PHASES = [
  ["Scanning", ["starting", "scanning", "reading", "redacting", "deduplicating", "splitting", "writing"]],
  ["Tokenizing", ["tokenizer", "tokenizing"]],
  ["Planning", ["planning"]],
  ["Compiling", ["compiling", "warming up"]],
];

const DETAILS = {
  starting: "starting",
  reading: "reading",
  redacting: "secrets",
  deduplicating: "duplicates",
  splitting: "holding out",
  writing: "writing",
  tokenizer: "vocabulary",
  "warming up": "warming up",
};

/** The panel; `update(view)` changes what differs. `cores`: of this machine. */
export function progressPanel(cores) {
  const whole = bar("Whole run");
  const part = bar("Epoch");
  const phases = PHASES.map(([name]) => bar(name));
  const values = Object.fromEntries(
    FIGURES.map(([key]) => [key, [h("dd", {}), h("dd", { class: "figure-more" })]]),
  );
  const training = h("div", { class: "bars" }, whole.node, part.node);
  const preparing = h("div", { class: "bars phases", hidden: true }, phases.map((phase) => phase.node));
  const node = h(
    "section",
    { class: "panel progress-panel", "aria-label": "Progress" },
    training,
    preparing,
    h(
      "dl",
      { class: "figures number" },
      FIGURES.map(([key, name, title]) => h("div", { title }, h("dt", {}, name), values[key])),
    ),
  );
  const say = (key, main, more = "") => {
    setText(values[key][0], main);
    setText(values[key][1], more);
  };

  return {
    node,
    update(view) {
      const { run } = view ?? {};
      const isPreparing = run?.state === "preparing";
      setAttr(node, "class", `panel progress-panel ${run?.running ? "" : (run?.state ?? "")}`);
      setHidden(training, isPreparing);
      setHidden(preparing, !isPreparing);
      if (isPreparing) showPhases(phases, view.stage);
      else showBars(whole, part, view ?? {});
      showFigures(say, view ?? {}, cores);
    },
  };
}

function showPhases(bars, stage) {
  const now = Math.max(0, PHASES.findIndex(([, stages]) => stages.includes(stage?.stage)));
  bars.forEach((one, i) => {
    if (i !== now) one.show(i < now ? 1 : 0, i < now ? "done" : "");
    else if (stage?.total > 1) one.show(stage.done / stage.total, percent(stage.done / stage.total));
    else one.show(0, `${DETAILS[stage?.stage] ?? ""}…`);
  });
}

function showBars(whole, part, { run, step, plan }) {
  if (!step) {
    whole.show(0, "");
    part.show(0, "");
    return;
  }
  const done = progressOf({ run, step });
  whole.show(done, run?.state === "done" && done < 1 ? `ended early, at ${percent(done)}` : percent(done));
  const batches = plan?.steps_per_epoch;
  // 2.0 is the end of the second epoch; a step that goes on into the next one still belongs to it.
  const now = Math.max(1, Math.ceil(step.epoch - (batches ? 0.5 / batches : 0)));
  const share = Math.min(1, step.epoch - (now - 1));
  const batch = batches
    ? `, batch ${count(Math.round(share * batches))} of ${count(Math.round(batches))}`
    : "";
  part.show(share, `${now}${plan?.epochs ? ` of ${epoch(plan.epochs)}` : ""}${batch}`);
}

/** How much of the run is done, 0..1. A timed run ends a little before its time. */
export function progressOf({ run, step }) {
  const done = step?.progress ?? 0;
  return run?.state === "done" && done > 0.99 ? 1 : done;
}

function showFigures(say, { run, step, usage, validation, best, checkpoint, result }, cores) {
  const running = Boolean(run?.running);
  if (step) {
    const guessed = running && step.progress > 0 ? Number((step.step / step.progress).toPrecision(2)) : null;
    const total = step.steps ? count(step.steps) : guessed && `about ${count(Math.max(step.step, guessed))}`;
    say("batch", count(step.step), total ? `of ${total}` : "");
    say("loss", number(step.loss, 3), `best ${number(step.best_loss, 3)}`);
    if (running || !result?.tokens_per_s) say("rate", running ? count(step.tokens_per_s) : "–");
    else say("rate", count(result.tokens_per_s), "mean");
  } else for (const key of ["batch", "loss", "rate"]) say(key, "–");
  const least = best?.bits_per_byte;
  say("held", number(validation?.bits_per_byte, 3), Number.isFinite(least) ? `best ${number(least, 3)}` : "");
  say("elapsed", clock(step?.elapsed_s));
  say("left", running ? clock(step?.eta_s ?? NaN) : "–");
  const now = running ? usage : null;
  say("cpu", percent((now?.cpu_percent ?? NaN) / 100), now ? `of ${percent(cores)}` : "");
  say("memory", bytes(now?.rss_bytes), usage ? `peak ${bytes(usage.peak_rss_bytes)}` : "");
  say("saved", checkpoint ? when(checkpoint.time).replace("today ", "") : "–", checkpoint?.kind ?? "");
}

function bar(name) {
  const id = `bar-${name.toLowerCase().replaceAll(" ", "-")}`;
  const track = h("progress", { id, max: 1, value: 0 });
  const text = h("span", { class: "number" });
  return {
    node: h("div", { class: "bar-row" }, h("label", { for: id }, name), text, track),
    show(share, words) {
      const value = Math.round(share * 1000) / 1000;
      if (track.value !== value) track.value = value;
      setText(text, words);
    },
  };
}
