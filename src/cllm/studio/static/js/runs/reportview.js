// A report as a page: the guide's "Benchmark data to collect", filled in.

import { h } from "../dom.js";
import { bytes, count, duration, number, short } from "../format.js";
import { highlight } from "../highlight.js";
import { epoch, shown, words } from "../words.js";
import { eachSphere, issues, panel, timeline } from "./reporttables.js";
import { score, verdictMark, verdictTable } from "./verdicts.js";

const unit = (value, text) => (value === null || value === undefined ? "–" : text(value));
const loss = (value) => unit(value, (v) => `${number(v, 3)} nats/token`);
const heldOut = (nats, bits) =>
  unit(
    nats,
    (v) => `${number(v, 3)} nats/token${Number.isFinite(bits) ? ` · ${number(bits, 4)} bits/byte` : ""}`,
  );
const share = (value, digits) => unit(value, (v) => `${number(v, digits)} %`);
const rate = (value) => unit(value, (v) => `${number(v, 2)} MB/s`);
const speed = (value) => unit(value, (v) => `${count(v)} tokens/s`);
const time = (value) => unit(value, duration);
const milliseconds = (value) => unit(value, (v) => `${number(v, v < 100 ? 1 : 0)} ms`);

/** All sections of `report`, top down. */
export function reportView(report) {
  return [
    headline(report),
    h(
      "div",
      { class: "bench-cards" },
      card("Training metrics", trainingRows(report)),
      card("Sphere metrics", sphereRows(report)),
      card("Performance", performanceRows(report)),
    ),
    h(
      "div",
      { class: "bench-two" },
      panel(
        "Success indicators",
        h("div", { class: "scroll" }, verdictTable("Indicator", report.success, "yes", "no", "bad")),
        tally(report.success, "met"),
      ),
      panel(
        "Warning signs",
        h(
          "div",
          { class: "scroll" },
          verdictTable("Sign", report.warning_signs, "absent", "present", "warn"),
        ),
        tally(report.warning_signs, "absent"),
      ),
    ),
    tests(report),
    timeline(report),
    eachSphere(report),
    issues(report),
    h(
      "div",
      { class: "bench-two bench-last" },
      facts("Machine", machineRows(report.machine)),
      facts("Model judged", modelRows(report)),
    ),
  ].filter(Boolean);
}

function tally(verdicts, word) {
  const { passed, known, all } = score(verdicts);
  if (!known) return null;
  const kind = passed === known ? "good" : "warn";
  return h("span", { class: `chip ${kind}` }, `${passed} of ${all} ${word}`);
}

function headline({ throughput: done, times, losses, spheres, resources }) {
  const big = (label, value, note) =>
    h(
      "div",
      { class: "big" },
      h("dt", {}, label),
      h("dd", {}, h("span", { class: "big-value number" }, value), h("span", { class: "small muted" }, note)),
    );
  return h(
    "dl",
    { class: "panel bigs" },
    big("Training time", time(times.total_s), `${count(done.steps)} steps`),
    big("Final loss", number(losses.final, 3), "nats/token"),
    big("Held out, best", number(losses.best_held_out_bits_per_byte, 4), "bits/byte"),
    big(
      "Reduction",
      share(losses.reduction_percent, 1),
      "of the initial loss",
    ),
    big("Active spheres", spheres.total ? `${spheres.active} / ${spheres.total}` : "–", "got batches"),
    big("Throughput", count(done.tokens_per_s), "tokens/s"),
    big("Peak memory", bytes(resources.peak_memory_bytes ?? undefined), "all processes"),
  );
}

/** Rows: [label, value, hint] — and groups: [title]. */
function card(title, rows) {
  return panel(
    title,
    h(
      "dl",
      { class: "bench-facts" },
      rows.map(([label, value, hint]) =>
        value === undefined
          ? h("div", { class: "bench-group" }, h("dt", {}, label), h("dd", { class: "visually-hidden" }, ""))
          : h("div", {}, h("dt", { title: hint ?? null }, label), h("dd", { class: "number" }, value)),
      ),
    ),
  );
}

function trainingRows({ times, losses, throughput: done }) {
  return [
    ["Total time", time(times.total_s)],
    ["In steps alone", time(times.training_s), "without validating and saving"],
    ["Per epoch", time(times.per_epoch_s)],
    ["Per batch", milliseconds(times.per_step_ms), "mean time of a step"],
    ["Per batch, median", milliseconds(times.median_step_ms)],
    ["Initial loss", loss(losses.initial)],
    [
      "Final loss",
      loss(losses.final),
      losses.final_over ? `mean of the last ${losses.final_over} steps` : null,
    ],
    ["Best loss", loss(losses.best), "of one step"],
    ["Reduction", share(losses.reduction_percent, 1)],
    ["Held out, last", heldOut(losses.held_out_nats_per_token, losses.held_out_bits_per_byte)],
    ["Held out, best", heldOut(losses.best_held_out_nats_per_token, losses.best_held_out_bits_per_byte)],
    ["Perplexity, best", number(losses.held_out_perplexity, 2), "held out, per token"],
    ["Epochs", `${epoch(done.epochs)}${done.planned_epochs ? ` of ${epoch(done.planned_epochs)}` : ""}`],
  ];
}

function sphereRows({ spheres, gradient_norm: norm, settings }) {
  const total = spheres.total || settings.spheres || 12;
  return [
    ["Active spheres", spheres.total ? `${spheres.active} / ${total}` : `– / ${total}`],
    ["Average batches/sphere", number(spheres.mean_microbatches, 1)],
    [
      "Fewest batches",
      spheres.each.length ? count(Math.min(...spheres.each.map((one) => one.microbatches))) : "–",
    ],
    [
      "Most batches",
      spheres.each.length ? count(Math.max(...spheres.each.map((one) => one.microbatches))) : "–",
    ],
    [
      "Load variance",
      share(spheres.load_variance_percent, 2),
      "standard deviation of the batches over their mean",
    ],
    ["Load variance, tokens", share(spheres.token_variance_percent, 2)],
    ["Gradient norm, first", unit(norm.first, short)],
    ["Gradient norm, median", unit(norm.median, short)],
    ["Gradient norm, last", unit(norm.last, short)],
    ["Gradient norm, largest", unit(norm.largest, short)],
  ];
}

function performanceRows({ throughput: done, resources: used, machine }) {
  const cpu =
    used.cpu_percent === null
      ? "–"
      : `${number(used.cpu_percent, 0)} %${machine.cores ? ` of ${100 * machine.cores} %` : ""}`;
  return [
    ["Tokens per second", speed(done.tokens_per_s), "tokens over the time in steps"],
    ["Of a step, median", speed(done.median_tokens_per_s)],
    ["In the last quarter", speed(done.late_tokens_per_s)],
    [
      "MFU",
      Number.isFinite(done.mfu) ? `${number(100 * done.mfu, 1)} %` : "–",
      Number.isFinite(done.gemm_gflops) ? `of the ${count(done.gemm_gflops)} GFLOP/s of matrix products here` : "",
    ],
    ["Tokens trained on", count(done.tokens)],
    ["Steps", `${count(done.steps)}${done.planned_steps ? ` of ${count(done.planned_steps)}` : ""}`],
    [
      "Speed-up",
      done.speedup ? `${number(done.speedup.speedup, 2)} × with ${done.speedup.ranks} workers` : "–",
      "against one worker; 'cllm report --speedup' measures it",
    ],
    ["Peak memory", bytes(used.peak_memory_bytes ?? undefined), "of all processes together"],
    ["Average CPU", cpu, "100 % is one core"],
    ["Disk read", rate(used.read_megabytes_per_s)],
    ["Disk written", rate(used.write_megabytes_per_s)],
  ];
}

function tests({ completions, language, model, state }) {
  const title = "Code generation tests";
  if (!completions.length) {
    const why =
      state === "running"
        ? "The prompts are tried when the training has ended."
        : "There is no model of this run to try the prompts with.";
    return panel(title, h("p", { class: "muted" }, why));
  }
  const each = completions.map((one, i) =>
    h(
      "article",
      { class: "test", "aria-label": `Prompt ${i + 1}` },
      h(
        "pre",
        { class: "code test-code" },
        h("span", { class: "given" }, highlight(one.prompt, language)),
        highlight(one.text, language),
      ),
      h(
        "dl",
        { class: "test-verdicts" },
        [one.syntax, one.repetition, one.style].map((verdict) =>
          h(
            "div",
            {},
            h("dt", {}, verdict.name),
            h(
              "dd",
              {},
              verdictMark(verdict, good(verdict.name), poor(verdict.name)),
              h("span", { class: "small muted" }, verdict.figure),
            ),
          ),
        ),
      ),
    ),
  );
  const by = `Completed by ${model?.path ?? "the model"} at temperature 0.`;
  const note = `${by} Whether the code does what its prompt asks is for a person to judge.`;
  return panel(
    title,
    h("div", { class: "stack" }, h("p", { class: "muted" }, note), h("div", { class: "tests" }, each)),
  );
}

const good = (name) => ({ Syntax: "correct", Repetition: "low", Style: "consistent" })[name] ?? "yes";
const poor = (name) => ({ Syntax: "errors", Repetition: "high", Style: "inconsistent" })[name] ?? "no";

const facts = (title, rows) =>
  panel(
    title,
    rows.length
      ? h(
          "dl",
          { class: "facts" },
          rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
        )
      : h("p", { class: "muted" }, "–"),
  );

const machineRows = (machine) =>
  Object.entries(machine).map(([name, value]) =>
    name === "memory_bytes" ? ["Memory", bytes(value)] : [words(name), shown(value, name)],
  );

function modelRows({ model, plan, corpus, language }) {
  const rows = model
    ? [
        ["File", model.path],
        ["Kind", model.kind],
        ["Size", bytes(model.bytes)],
        [
          "Loads",
          model.loads === null
            ? "–"
            : `${model.loads ? "yes" : "no"}${model.detail ? `, ${model.detail}` : ""}`,
        ],
      ]
    : [["File", "–"]];
  return rows.concat([
    ["Model size", plan.size ? `${plan.size}, ${count(plan.parameters)} parameters` : "–"],
    ["Precision", shown(plan.precision)],
    ["Workers", shown(plan.ranks)],
    ["Data", corpus.files ? `${count(corpus.files)} files, ${bytes(corpus.bytes)}` : "–"],
    ["Main language", shown(language)],
  ]);
}
