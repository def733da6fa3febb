// The parameters: fields, units and tooltips from the one declaration of the settings; checked by the server as typed.

import { post } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { settingField, told as tellProblem } from "../fields.js";

const CHECK_AFTER_MS = 150;
const KEY = "cllm-parameters";
const DEPENDING = ["epochs", "batch_size", "context"]; // their default is another one where the time is limited

/** The panel. `values()` is what was set; `problems()` its faults by name; `show(settings, set)` shows a run's. */
export function parametersPanel(context, kept, changed) {
  const { properties } = context.meta.train;
  kept.values ??= remembered(properties);
  const fields = Object.fromEntries(Object.entries(properties).map(([name, property]) => [name, ownField(name, property)]));
  const of = (advanced) => Object.entries(properties).filter(([, one]) => Boolean(one.advanced) === advanced).map(([name]) => fields[name].node);
  const reset = h("button", { class: "button quiet small", type: "button", on: { click: restore } }, "Defaults");
  const locked = h("span", { class: "muted small", hidden: true }, "of the training that runs");
  const advancedNote = h("span", { class: "muted small" });
  const fold = h("details", { class: "advanced" }, h("summary", {}, "Advanced ", advancedNote), h("div", { class: "parameters" }, of(true)));
  const form = h("fieldset", {}, h("legend", { class: "visually-hidden" }, "Parameters"), h("div", { class: "parameters" }, of(false)), fold);
  const node = h("section", { class: "panel", "aria-labelledby": "parameters-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "parameters-head" }, "Parameters"), locked, h("span", { class: "spacer" }), reset), form);
  let problems = {};
  let notes = {};
  let timer = null;
  let asked = 0;
  let foreign = null; // settings of a running training, which are shown in place of one's own

  function ownField(name, property) {
    const field = settingField(name, property, "set");
    field.input.addEventListener("input", () => type(name, field.input.value));
    field.input.addEventListener("blur", () => { if (!(name in kept.values)) showValue(name); });
    return field;
  }

  function type(name, text) {
    const { numeric, property } = fields[name];
    if (text.trim() === "" && name !== "sample_prompt") delete kept.values[name];
    else kept.values[name] = numeric && Number.isFinite(Number(text)) ? Number(text) : text;
    if (kept.values[name] === property.default && !DEPENDING.includes(name)) delete kept.values[name];
    mark(name);
    clearTimeout(timer);
    timer = setTimeout(check, CHECK_AFTER_MS);
    changed();
  }

  function mark(name) {
    fields[name].node.classList.toggle("touched", !foreign && name in kept.values);
    const many = Object.keys(kept.values).filter((one) => properties[one].advanced).length;
    setText(advancedNote, !foreign && many ? `· ${many} set` : "");
  }

  async function check() {
    const mine = (asked += 1);
    try {
      const answer = await post("/api/settings/check", { settings: kept.values });
      if (mine !== asked) return;
      ({ fields: problems, notes } = answer);
      remember(kept.values);
    } catch { /* the start of the training will say it */ }
    for (const name of Object.keys(fields)) told(name);
    changed();
  }

  function told(name) {
    const { input, hint } = fields[name];
    const text = foreign ? "" : sentence(problems[name] ?? "");
    tellProblem(fields[name], text);
    const note = foreign ? "" : (notes[name] ?? "");
    setText(hint, note);
    setHidden(hint, !note || Boolean(text));
    if (!foreign && !(name in kept.values) && document.activeElement !== input) showValue(name);
  }

  function showValue(name) {
    const { input, property } = fields[name];
    const isSet = foreign ? foreign.set.includes(name) : name in kept.values;
    const isTimed = foreign ? foreign.settings.minutes !== null : "minutes" in kept.values;
    const open = DEPENDING.includes(name) && isTimed && !isSet;
    const value = open ? "" : foreign ? foreign.settings[name] : isSet ? kept.values[name] : property.default;
    const text = value === null || value === undefined ? "" : String(value);
    if (input.value !== text) input.value = text;
    setAttr(input, "placeholder", open ? "by time" : property.default === null ? "not set" : null);
  }

  function showAll() {
    for (const name of Object.keys(fields)) { showValue(name); mark(name); told(name); }
  }

  function restore() {
    kept.values = {};
    showAll();
    check();
  }

  showAll();
  check();
  return {
    node,
    values: () => kept.values,
    problems: () => problems,
    /** Resolves when what was typed last is checked. */
    settle() {
      clearTimeout(timer);
      return check();
    },
    focusProblem() {
      const name = Object.keys(fields).find((one) => problems[one]);
      if (!name) return;
      if (properties[name].advanced) fold.open = true;
      fields[name].input.focus();
    },
    clone(settings) {
      kept.values = Object.fromEntries(Object.entries(settings).filter(([name]) => name in properties));
      fold.open = Object.keys(kept.values).some((name) => properties[name].advanced);
      showAll();
      check();
    },
    /** Show what a running training uses, or (null) one's own again. */
    show(run) {
      if (foreign === run) return;
      foreign = run;
      form.disabled = reset.disabled = Boolean(run);
      setHidden(locked, !run);
      setHidden(reset, Boolean(run));
      showAll();
    },
    destroy: () => clearTimeout(timer),
  };
}

const sentence = (text) => text && text[0].toUpperCase() + text.slice(1);

function remembered(properties) {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(found).filter(([name]) => name in properties));
  } catch {
    return {};
  }
}

function remember(values) {
  try { sessionStorage.setItem(KEY, JSON.stringify(values)); } catch { /* until the page is left */ }
}
