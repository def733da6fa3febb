// The panels of the page of one run; each has `node` and `show(...)`, which changes what differs.

import { h, setAttr, setHidden, setText } from "../dom.js";
import { count, number, when } from "../format.js";
import { colourOf, levelOf } from "../palette.js";
import { epoch, facts, settingNames, settingText, words } from "./words.js";

/** A panel with a definition list; its rows change in place while their names stay. */
export function factsPanel(title) {
  const list = facts([]);
  const none = h("p", { class: "muted", hidden: true });
  let names = "";
  return {
    node: h("section", { class: "panel" }, h("div", { class: "panel-head" }, h("h2", {}, title)), list, none),
    show(rows, empty = "") {
      setText(none, empty);
      setHidden(none, rows.length > 0);
      const next = rows.map(([name]) => name).join("\n");
      if (next !== names) {
        names = next;
        list.replaceChildren(...facts(rows).childNodes);
      } else {
        rows.forEach(([, text], i) => setText(list.children[2 * i + 1], text));
      }
    },
  };
}

/** A panel with a table; a cell is a text or a node, and changes in place. */
export function tablePanel(title, heads) {
  const body = h("tbody", {});
  const table = h(
    "table",
    { class: "table compact" },
    h("caption", { class: "visually-hidden" }, title),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        heads.map((head, i) => h("th", { scope: "col", class: i ? "right" : "" }, head)),
      ),
    ),
    body,
  );
  const none = h("p", { class: "muted", hidden: true });
  const cells = (row) =>
    row.map((cell, i) => (i ? h("td", { class: "right" }, cell) : h("th", { scope: "row" }, cell)));
  const fill = (td, cell) => {
    if (typeof cell === "string") setText(td, cell);
    else if (td.textContent !== cell.textContent) td.replaceChildren(cell); // a node that says the same stays
  };
  return {
    node: h(
      "section",
      { class: "panel" },
      h("div", { class: "panel-head" }, h("h2", {}, title)),
      h("div", { class: "scroll" }, table),
      none,
    ),
    show(rows, empty) {
      setText(none, empty);
      setHidden(none, rows.length > 0);
      setHidden(table, rows.length === 0);
      rows.forEach((row, i) => {
        if (!body.children[i]) body.append(h("tr", {}, cells(row)));
        else row.forEach((cell, j) => fill(body.children[i].children[j], cell));
      });
      while (body.children.length > rows.length) body.lastChild.remove();
    },
  };
}

/** Activity as colour and word. */
export function activity(value) {
  const dot = h("span", { class: "dot", "aria-hidden": "true" });
  dot.style.background = colourOf(value);
  return h(
    "span",
    { class: "activity", title: `${number(value, 2)} of an even share` },
    dot,
    levelOf(value).name,
  );
}

/** All settings: which were set, which are defaults. */
export function settingsPanel(meta) {
  const body = h("tbody", {});
  const names = settingNames(meta);
  const only = h("input", { type: "checkbox", on: { change: () => filter() } });
  const none = h("p", { class: "muted", hidden: true }, "Everything is at its default.");
  let set = new Set();
  const filter = () => {
    names.forEach((name, i) => setHidden(body.children[i], only.checked && !set.has(name)));
    setHidden(none, !only.checked || set.size > 0);
  };
  return {
    node: h(
      "section",
      { class: "panel" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", {}, "Settings"),
        h("span", { class: "spacer" }),
        h("label", { class: "check small" }, only, "Only those that were set"),
      ),
      h(
        "table",
        { class: "table compact" },
        h("caption", { class: "visually-hidden" }, "Settings"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            ["Setting", "Value", "Origin"].map((head) => h("th", { scope: "col" }, head)),
          ),
        ),
        body,
      ),
      none,
    ),
    show(run) {
      set = new Set(run.set);
      body.replaceChildren(
        ...names.map((name) =>
          h(
            "tr",
            { class: set.has(name) ? "set" : null },
            h("th", { scope: "row", title: meta.train.properties[name].description }, words(name)),
            h("td", { class: "break" }, settingText(meta, name, run.settings[name])),
            h(
              "td",
              { class: "small" },
              set.has(name)
                ? h("span", { class: "chip accent" }, "set")
                : h("span", { class: "muted" }, "default"),
            ),
          ),
        ),
      );
      filter();
    },
  };
}

/** What the model wrote at each validation; a slider goes through the run. */
export function samplesPanel() {
  const range = h("input", {
    type: "range",
    id: "sample-at",
    min: "0",
    value: "0",
    on: { input: () => draw() },
  });
  const where = h("output", { class: "muted number", for: "sample-at" });
  const prompt = h("span", { class: "sample-prompt" });
  const text = h("span", {});
  const node = h(
    "section",
    { class: "panel", hidden: true },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, h("label", { for: "sample-at" }, "Samples")),
      range,
      h("span", { class: "spacer" }),
      where,
    ),
    h("pre", { class: "code sample" }, prompt, text),
  );
  let samples = [];
  function draw() {
    const one = samples[Number(range.value)];
    if (!one) return;
    setText(where, `step ${count(one.step)}, epoch ${epoch(one.epoch)}`);
    setAttr(range, "aria-valuetext", `step ${one.step}`);
    setText(prompt, one.prompt);
    setText(text, one.text);
  }
  return {
    node,
    show(next) {
      const atEnd = Number(range.value) >= samples.length - 1;
      const same = next.length === samples.length;
      samples = next;
      setHidden(node, samples.length === 0);
      setHidden(range, samples.length < 2);
      if (same) return;
      setAttr(range, "max", samples.length - 1);
      if (atEnd) range.value = String(samples.length - 1);
      draw();
    },
  };
}

/** Warnings and errors into the panel `node`. */
export function showMessages(node, messages) {
  setHidden(node, messages.length === 0);
  if (node.dataset.many === String(messages.length)) return;
  node.dataset.many = String(messages.length);
  node.replaceChildren(
    h(
      "ul",
      { class: "stack messages" },
      messages.map((message) =>
        h(
          "li",
          {},
          h("span", { class: `chip ${message.kind === "error" ? "bad" : "warn"}` }, message.kind),
          h("span", { class: "muted small number" }, when(message.time)),
          h("span", {}, message.text),
        ),
      ),
    ),
  );
}
