// The prompts of before, newest first; kept by the browser.

import { h, setHidden } from "../dom.js";
import { when } from "../format.js";

const KEY = "cllm-prompts";
const MOST = 50;
const MOST_CHARACTERS = 20_000;

/** The list with one more; the same prompt with the same settings only once. */
export function withEntry(entries, entry) {
  const same = (one) => one.prompt === entry.prompt && JSON.stringify(one.settings) === JSON.stringify(entry.settings);
  return [entry, ...entries.filter((one) => !same(one))].slice(0, MOST);
}

/** A fold with the prompts; `choose(entry)` gets {prompt, settings, model, time}. */
export function historyFold(choose) {
  let entries = read();
  const list = h("ul", { class: "prompts" });
  const clear = h("button", { class: "button quiet small", type: "button", on: { click: () => { entries = []; keep(); } } }, "Clear");
  const node = h("details", { class: "history" }, h("summary", {}, "Prompts of before"), list, clear);
  const keep = () => {
    try { localStorage.setItem(KEY, JSON.stringify(entries)); } catch { /* until the page is left */ }
    draw();
  };
  function draw() {
    setHidden(node, entries.length === 0);
    list.replaceChildren(...entries.map((entry) => h("li", {},
      h("button", { class: "prompt-before", type: "button", title: entry.prompt.slice(0, 500), on: { click: () => choose(entry) } },
        h("span", { class: "mono" }, entry.prompt.trim().split("\n", 1)[0] || "(empty)"),
        h("span", { class: "muted small number" }, `${entry.model} · ${when(entry.time)}`)))));
  }
  draw();
  return {
    node,
    add(entry) {
      if (entry.prompt.length > MOST_CHARACTERS) return;
      entries = withEntry(entries, entry);
      keep();
    },
  };
}

function read() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((one) => typeof one?.prompt === "string") : [];
  } catch {
    return [];
  }
}
