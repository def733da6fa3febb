// The panels of the page of one run; each has `node` and `show(...)`, which changes what differs.

import { h, setHidden, setText } from "../dom.js";
import { facts, settingNames, settingText, words } from "../words.js";

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
