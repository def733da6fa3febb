// How tokens are chosen: the fields of the sampling settings.

import { h, setAttr } from "../dom.js";
import { problemOf, settingField, told } from "../fields.js";

const ORDER = ["temperature", "top_k", "top_p", "max_tokens", "repetition_penalty", "dry_multiplier", "min_p", "seed", "stop"];

/** The panel. `values()` is what differs from the defaults, or null if a field is wrong; `fill(values)` sets them. */
export function samplingPanel(meta, kept, changed) {
  const { properties } = meta.sampling;
  const names = [...ORDER, ...Object.keys(properties).filter((name) => !ORDER.includes(name))];
  const fields = Object.fromEntries(names.map((name) => [name, settingField(name, properties[name], "sample")]));
  const reset = h("button", { class: "button quiet small", type: "button", on: { click: () => fill({}) } }, "Defaults");
  const node = h("section", { class: "panel", "aria-labelledby": "sampling-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "sampling-head" }, "Sampling"), h("span", { class: "spacer" }), reset),
    h("div", { class: "parameters" }, names.map((name) => fields[name].node)));
  setAttr(fields.stop.input, "placeholder", "one a line; \\n is a line break");
  setAttr(fields.seed.input, "placeholder", "a new one");
  for (const [name, field] of Object.entries(fields)) {
    field.input.addEventListener("input", () => {
      told(field, problemOf(field.input.value, field));
      const value = parse(name, field);
      if (value === undefined) delete kept.sampling[name];
      else kept.sampling[name] = value;
      field.node.classList.toggle("touched", name in kept.sampling);
      changed();
    });
  }

  function parse(name, { input, numeric, property }) {
    const text = input.value;
    if (name === "stop") return text ? text.split("\n").filter(Boolean).map(unescaped) : undefined;
    if (text.trim() === "") return undefined;
    const value = numeric && Number.isFinite(Number(text)) ? Number(text) : text;
    return value === property.default ? undefined : value;
  }

  function fill(values) {
    kept.sampling = { ...values };
    for (const [name, field] of Object.entries(fields)) {
      const value = values[name] ?? field.property.default;
      field.input.value = name === "stop" ? (value ?? []).map(escaped).join("\n") : value === null || value === undefined ? "" : String(value);
      field.node.classList.toggle("touched", name in values);
      told(field, problemOf(field.input.value, field));
    }
    changed();
  }

  kept.sampling ??= {};
  fill(kept.sampling);
  return {
    node,
    fill,
    values: () => {
      const wrong = names.find((name) => fields[name].problem.textContent);
      if (wrong) fields[wrong].input.focus();
      return wrong ? null : { ...kept.sampling };
    },
  };
}

/** Stop strings as one types them: \n, \t and \\ stand for themselves. */
export const unescaped = (text) => text.replaceAll(/\\([nt\\])/g, (_, one) => ({ n: "\n", t: "\t", "\\": "\\" })[one]);
export const escaped = (text) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
