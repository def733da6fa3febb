// A field of a setting: label, unit, tooltip and bounds, all from its declaration in the schema.

import { h, setAttr, setHidden, setText } from "./dom.js";
import { words } from "./words.js";

/** Its nodes: {node, input, hint, problem, numeric, property, spec}; ids begin with `prefix`. */
export function settingField(name, property, prefix) {
  const spec = property.anyOf?.find((one) => one.type !== "null") ?? property;
  const id = `${prefix}-${name}`;
  const numeric = spec.type === "number" || spec.type === "integer";
  const input = spec.enum
    ? h("select", { id }, spec.enum.map((one) => h("option", { value: one }, one)))
    : spec.type === "array"
      ? h("textarea", { id, rows: 2, spellcheck: "false" })
      : h("input", { id, type: "text", inputmode: numeric ? "decimal" : null, autocomplete: "off", spellcheck: "false" });
  const hint = h("p", { class: "hint", id: `${id}-note`, hidden: true });
  const problem = h("p", { class: "problem", id: `${id}-problem`, hidden: true });
  const bounds = boundsOf(spec);
  const tip = h("span", { class: "tip", role: "tooltip", id: `${id}-tip` },
    [`${property.description}.`, bounds && `${bounds}.`, isOpen(property.default) ? "" : `Default ${property.default}.`].filter(Boolean).join(" "));
  setAttr(input, "aria-describedby", `${id}-tip ${id}-note ${id}-problem`);
  const wide = spec.type === "array" || (spec.type === "string" && !spec.enum);
  const node = h("div", { class: wide ? "field setting wide" : "field setting" },
    h("label", { for: id }, words(name)),
    h("div", { class: "box" }, input, property.unit ? h("span", { class: "unit" }, property.unit) : null), hint, problem, tip);
  node.addEventListener("keydown", (event) => { if (event.key === "Escape") node.classList.add("quiet-tip"); });
  node.addEventListener("focusout", () => node.classList.remove("quiet-tip"));
  return { node, input, hint, problem, numeric, property, spec };
}

/** Show a problem at the field, or (empty) none. */
export function told({ input, problem }, text) {
  setText(problem, text);
  setHidden(problem, !text);
  setAttr(input, "aria-invalid", text ? "true" : null);
}

/** What is wrong with a typed number; empty if nothing is, or if it is for the server to say. */
export function problemOf(text, { numeric, spec }) {
  if (!numeric || text.trim() === "") return "";
  const value = Number(text);
  if (!Number.isFinite(value)) return "Must be a number";
  if (spec.type === "integer" && !Number.isInteger(value)) return "Must be a whole number";
  if (value < spec.minimum || value > spec.maximum || value <= spec.exclusiveMinimum) return boundsOf(spec);
  return "";
}

const isOpen = (value) => value === null || value === "" || (Array.isArray(value) && !value.length);

function boundsOf(spec) {
  const least = spec.minimum !== undefined ? `from ${spec.minimum}` : spec.exclusiveMinimum !== undefined ? `over ${spec.exclusiveMinimum}` : "";
  const most = spec.maximum === undefined || spec.maximum > 1e9 ? "" : ` to ${spec.maximum.toLocaleString("en")}`;
  const text = (least + most).trim();
  return text && text[0].toUpperCase() + text.slice(1);
}
