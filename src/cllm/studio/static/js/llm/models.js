// The list of models and checkpoints, of which one is chosen.

import { get } from "../api.js";
import { h, setHidden, setText } from "../dom.js";
import { bytes, compact, count, number, when } from "../format.js";
import { epoch } from "../words.js";

/** A name that, where it is too long for a line, is broken between its words. */
const breakable = (name) => name.split(/(?<=[_.-])/).flatMap((word, i) => (i ? [h("wbr"), word] : [word]));

/** The panel. `load()` fetches the list, `chosen()` is an entry or null; `changed(entry)` is called on a choice. */
export function modelsPanel(wanted, changed) {
  const list = h("div", { class: "models", role: "radiogroup", "aria-labelledby": "models-head" });
  const empty = h("div", { class: "empty", hidden: true },
    h("p", {}, "There is no model yet."), h("p", {}, h("a", { href: "/training" }, "Train one")));
  const number_ = h("span", { class: "chip number" });
  const node = h("section", { class: "panel models-panel" },
    h("div", { class: "panel-head" }, h("h2", { id: "models-head" }, "Models"), number_), list, empty);
  let models = [];
  let id = wanted;
  let shown = "";

  async function load() {
    ({ models } = await get("/api/models"));
    const text = JSON.stringify(models);
    if (text === shown) return;
    shown = text;
    const usable = models.filter((one) => !one.problem);
    if (!usable.some((one) => one.id === id)) id = (usable.find((one) => one.kind === "model") ?? usable[0])?.id ?? null;
    build();
    changed(chosen());
  }

  const chosen = () => models.find((one) => one.id === id) ?? null;

  function build() {
    const final = models.filter((one) => one.kind === "model");
    const byRun = Map.groupBy
      ? Map.groupBy(models.filter((one) => one.kind !== "model"), (one) => one.run ?? "")
      : models.filter((one) => one.kind !== "model").reduce((all, one) => all.set(one.run ?? "", [...(all.get(one.run ?? "") ?? []), one]), new Map());
    const opened = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.run));
    list.replaceChildren(...final.map(row), ...[...byRun].map(([run, rows]) =>
      h("details", { dataset: { run }, open: opened.has(run) || rows.some((one) => one.id === id) || final.length === 0 },
        h("summary", {}, `Checkpoints of ${rows[0].name}`, h("span", { class: "model-group muted small number" }, `${rows.length} · ${when(rows[0].created)}`)), rows.map(row))));
    setHidden(empty, models.length > 0);
    setText(number_, count(models.length));
  }

  function row(model) {
    const input = h("input", { type: "radio", name: "model", value: model.id, checked: model.id === id, disabled: Boolean(model.problem),
      on: { change: () => { id = model.id; changed(model); } } });
    const held = Number.isFinite(model.bits_per_byte)
      ? h("span", { title: "Held-out bits per byte" }, h("b", {}, number(model.bits_per_byte, 3)), " bits/byte") : null;
    const lines = model.problem ? [[model.problem]] : [[model.kind === "model" ? model.label : null, held], [`${bytes(model.bytes)} · ${when(model.created)}`]];
    return h("label", { class: model.problem ? "model broken" : "model", title: [model.path, model.parameters && `${compact(model.parameters)} parameters`].filter(Boolean).join(", ") }, input,
      h("span", { class: "model-name" }, model.kind === "model" ? breakable(model.name) : `${model.label}, epoch ${epoch(model.epoch)}`),
      lines.map((parts) => h("span", { class: "model-about muted small number" }, parts.filter(Boolean).flatMap((part, i) => (i ? [" · ", part] : [part])))));
  }

  return { node, load, chosen };
}
