// How runs, their settings and their figures are worded, on every page that lists runs.

import { h, setAttr, setText } from "./dom.js";
import { bytes, compact, count, duration, number, short } from "./format.js";

const BUSY = ["preparing", "training", "stopping"];
const KINDS = {
  preparing: "accent",
  training: "accent",
  stopping: "warn",
  done: "good",
  stopped: "warn",
  failed: "bad",
  interrupted: "bad",
};
const SIGNS = {
  preparing: "◌",
  training: "●",
  stopping: "◐",
  done: "✓",
  stopped: "■",
  failed: "✗",
  interrupted: "!",
};

/** Whether a run of this state has a process. */
export const isBusy = (state) => BUSY.includes(state);

/** A chip that names a run's state; `update(state)` changes it. */
export function stateChip(state) {
  const sign = h("span", { "aria-hidden": "true" });
  const word = h("span", {});
  const chip = h("span", { class: "chip" }, sign, word);
  const update = (next) => {
    setAttr(chip, "class", `chip run-state ${KINDS[next] ?? ""}`);
    setText(sign, SIGNS[next] ?? "");
    setText(word, next);
  };
  update(state);
  return { chip, update };
}

/** 1,200 / 4,800; the plan's part is left out where there is none. */
export const ofTotal = (done, total, show = count) =>
  total === null || total === undefined ? show(done) : `${show(done)} / ${show(total)}`;

/** An epoch with one digit, whole numbers without. */
export const epoch = (value) => (Number.isFinite(value) ? String(Number(value.toFixed(1))) : "–");

/** The first line of a note. */
export const firstLine = (text) => (text ?? "").trim().split("\n", 1)[0];

/** A name of the schema as words: `learning_rate` is "Learning rate". */
export function words(name) {
  const text = name.replaceAll("_", " ").replace(/ s$/, "");
  return text[0].toUpperCase() + text.slice(1);
}

/** Any value of settings, plan or machine as one line; nothing is "–". */
export function shown(value, name = "") {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") {
    if (name.endsWith("bytes")) return bytes(value);
    return Number.isInteger(value)
      ? name === "seed"
        ? String(value)
        : count(value)
      : String(Number(value.toPrecision(4)));
  }
  if (Array.isArray(value)) return value.map((one) => shown(one)).join(", ") || "–";
  if (typeof value === "object") {
    return (
      Object.entries(value)
        .map(([key, one]) => `${key.replaceAll("_", " ")} ${shown(one)}`)
        .join(", ") || "–"
    );
  }
  return String(value);
}

/** A setting with its unit: "32 windows"; where a value stands for a rule, the rule of its description. */
export function settingText(meta, name, value) {
  const { unit, description = "" } = meta.train.properties[name] ?? {};
  const key = value === null ? "unset" : value === "" ? "empty" : String(value);
  const rule = description
    .split("; ")
    .find((part) => part.startsWith(`${key} = `))
    ?.slice(key.length + 3)
    .split(",")[0];
  if (rule) return ["unset", "empty", "0"].includes(key) ? rule : `${key}: ${rule}`;
  const text = shown(value, name);
  return unit && text !== "–" ? `${text} ${unit}` : text;
}

/** Settings in the order of their declaration: those of everyone first. */
export const settingNames = (meta) => Object.keys(meta.train.properties);

/** A definition list of [name, text or node]. */
export const facts = (rows, attributes = {}) =>
  h(
    "dl",
    { class: "facts", ...attributes },
    rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );

/** The result figures of a run: [name, text, number for comparing, "low" | "high" | null]. */
export function results(run, view, curve) {
  const best = view?.best?.bits_per_byte ?? run.bits_per_byte;
  const result = view?.result ?? {};
  const last = curve?.validations?.at(-1);
  const rates = [...(curve?.steps?.tokens_per_s ?? [])].filter(Number.isFinite).sort((a, b) => a - b);
  const rate = rates.length ? rates[Math.floor(rates.length / 2)] : null;
  const peak = view?.usage?.peak_rss_bytes ?? null;
  const seconds = result.seconds ?? run.elapsed_s;
  return [
    ["Held-out loss, best", unit(best, 4, "bits/byte"), best, "low"],
    ["Held-out loss, last", unit(last?.bits_per_byte, 4, "bits/byte"), last?.bits_per_byte, "low"],
    ["Held-out loss, best, per token", unit(view?.best?.loss, 3, "nats"), null, null],
    ["Training loss, last step", unit(run.loss, 3, "nats/token"), null, null],
    ["Steps", ofTotal(run.step, run.steps), null, null],
    ["Epochs", ofTotal(run.epoch, run.epochs, epoch), null, null],
    ["Time", duration(seconds ?? undefined), null, null],
    ["Throughput, median", rate === null ? "–" : `${count(rate)} tokens/s`, rate, "high"],
    ["Peak memory", bytes(peak ?? undefined), run.step > 0 ? peak : null, "low"],
  ];
}

const unit = (value, digits, name) => (Number.isFinite(value) ? `${number(value, digits)} ${name}` : "–");

/** The plan as rows of [name, text]. */
export function planRows(plan) {
  if (!plan) return [];
  const skipped = new Set(["notes", "size", "parameters"]);
  const head = [["Model", plan.size ? `${plan.size}, ${compact(plan.parameters)} parameters` : "–"]];
  return head.concat(
    Object.entries(plan)
      .filter(([name, value]) => !skipped.has(name) && typeof value !== "object")
      .map(([name, value]) => [words(name), name === "learning_rate" ? short(value) : shown(value, name)]),
  );
}
