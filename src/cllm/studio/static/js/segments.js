// A row of buttons of which one is pressed; remembers the choice.

import { h } from "./dom.js";

/** `choices`: [[value, label]]. `change(value)` is called on a choice. Returns {node, value()}. */
export function segments(label, choices, initial, change, key = null) {
  const kept = key ? read(key) : null;
  let value = choices.some(([one]) => one === kept) ? kept : initial;
  const buttons = choices.map(([one, text]) =>
    h(
      "button",
      { type: "button", "aria-pressed": String(one === value), on: { click: () => choose(one) } },
      text,
    ),
  );
  function choose(next) {
    value = next;
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", String(choices[i][0] === value)));
    if (key) write(key, value);
    change(value);
  }
  return {
    node: h("div", { class: "segments", role: "group", "aria-label": label }, buttons),
    value: () => value,
  };
}

/** A checkbox with its label; remembers. Returns {node, value()}. */
export function toggle(label, initial, change, key = null) {
  const kept = key ? read(key) : null;
  const box = h("input", {
    type: "checkbox",
    checked: kept === null ? initial : kept === "true",
    on: {
      change: () => {
        if (key) write(key, box.checked);
        change(box.checked);
      },
    },
  });
  return { node: h("label", { class: "check" }, box, label), value: () => box.checked };
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    /* it holds until the page is left */
  }
}
