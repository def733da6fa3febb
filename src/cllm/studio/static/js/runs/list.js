// Every run in a table: sorted, filtered, ticked for comparing; what runs is kept up to date.

import { get } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { clock, compact, number, when } from "../format.js";
import { blocked, clone, remove, resume, unresumable } from "./actions.js";
import { openMenu } from "./menu.js";
import { epoch, firstLine, ofTotal, stateChip } from "../words.js";

const MOST_COMPARED = 6;
const text = (value) => (value ?? "").toLowerCase();

// key, heading, value to sort by, direction of the first click, class
const COLUMNS = [
  ["id", "Run", (run) => run.id, -1, ""],
  ["name", "Name", (run) => text(run.name), 1, "wide"],
  ["state", "State", (run) => run.state, 1, ""],
  ["started", "Started", (run) => run.started, -1, ""],
  ["time", "Time", (run) => run.elapsed_s, -1, "right middle"],
  ["size", "Model", (run) => run.parameters, -1, ""],
  ["loss", "Bits/byte", (run) => run.bits_per_byte, 1, "right"],
  ["step", "Steps", (run) => run.step, -1, "right"],
  ["epoch", "Epochs", (run) => run.epoch, -1, "right middle"],
  ["notes", "Notes", (run) => text(firstLine(run.notes)), 1, "wide"],
];
const TITLES = {
  loss: "Best held-out loss, in bits per byte of text",
  time: "Time in training",
  size: "Model size and its parameters",
};

/** Build the list into `root`; returns what takes it away. */
export function mountList(root, context) {
  const query = new URLSearchParams(location.search);
  const ticked = new Set();
  const rows = new Map(); // id -> row
  let runs = [];
  let sort = COLUMNS.some(([key]) => key === query.get("sort")) ? query.get("sort") : "started";
  let direction = query.get("order") === "up" ? 1 : -1;
  let gone = false;

  const filter = h("input", {
    class: "input",
    id: "runs-filter",
    type: "search",
    placeholder: "Filter by name, state, notes…",
    value: query.get("filter") ?? "",
    on: {
      input: () => {
        remember();
        arrange();
      },
    },
  });
  const tally = h("span", { class: "muted small number", role: "status" });
  const compare = h(
    "button",
    { class: "button primary", type: "button", disabled: true, on: { click: goCompare } },
    "Compare",
  );
  const hint = h("span", { class: "muted small" }, "Tick 2 to 6 runs to compare them");
  const headings = COLUMNS.map(([key, label, , first, kind]) =>
    h(
      "th",
      { scope: "col", class: kind },
      h(
        "button",
        { class: "sort", type: "button", title: TITLES[key], on: { click: () => sortBy(key, first) } },
        label,
        h("span", { class: "arrow", "aria-hidden": "true" }),
      ),
    ),
  );
  const body = h("tbody", {});
  const table = h(
    "table",
    { class: "table runs-table" },
    h("caption", { class: "visually-hidden" }, "All runs"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Compare")),
        headings,
        h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Actions")),
      ),
    ),
    body,
  );
  const nothing = h("p", { class: "empty", hidden: true }, "No run matches the filter.");
  const panel = h(
    "section",
    { class: "panel", "aria-label": "All runs", hidden: true },
    h(
      "div",
      { class: "panel-head" },
      h("label", { class: "visually-hidden", for: "runs-filter" }, "Filter the runs"),
      h("div", { class: "runs-filter" }, filter),
      tally,
      h("span", { class: "spacer" }),
      hint,
      compare,
    ),
    h("div", { class: "scroll" }, table),
    nothing,
  );
  const empty = h(
    "section",
    { class: "panel empty", hidden: true },
    h("h2", {}, "No run yet"),
    h("p", {}, "Every training is kept here with its settings, its curves and its result."),
    h(
      "p",
      { class: "runs-start" },
      h("a", { class: "button primary", href: "/training" }, "Start a training"),
    ),
  );
  const problem = h("p", { class: "panel bad", role: "alert", hidden: true });
  root.append(h("div", { class: "stack" }, h("h1", {}, "Runs"), problem, panel, empty));

  function remember() {
    const next = new URLSearchParams();
    if (filter.value) next.set("filter", filter.value);
    if (sort !== "started" || direction !== -1) {
      next.set("sort", sort);
      next.set("order", direction > 0 ? "up" : "down");
    }
    history.replaceState(null, "", `/runs${next.size ? `?${next}` : ""}`);
  }

  function sortBy(key, first) {
    direction = key === sort ? -direction : first;
    sort = key;
    remember();
    arrange();
  }

  function goCompare() {
    const chosen = runs.filter((run) => ticked.has(run.id)).map((run) => run.id);
    context.navigate(`/compare?runs=${chosen.map(encodeURIComponent).join(",")}`);
  }

  function tick(run, on) {
    if (on) ticked.add(run.id);
    else ticked.delete(run.id);
    showTicked();
  }

  function showTicked() {
    const many = ticked.size;
    compare.disabled = many < 2 || many > MOST_COMPARED;
    setText(compare, many ? `Compare ${many}` : "Compare");
    setText(
      hint,
      many > MOST_COMPARED
        ? `At most ${MOST_COMPARED} runs fit into one comparison`
        : many === 1
          ? "Tick one more to compare"
          : many
            ? ""
            : "Tick 2 to 6 runs to compare them",
    );
    for (const [id, row] of rows) setAttr(row.tr, "class", ticked.has(id) ? "ticked" : null);
  }

  function newRow(run) {
    const chip = stateChip(run.state);
    const cell = Object.fromEntries(COLUMNS.map(([key, , , , kind]) => [key, h("td", { class: kind })]));
    const box = h("input", {
      type: "checkbox",
      "aria-label": `Compare ${run.id}`,
      on: { change: () => tick(row.run, box.checked) },
    });
    const [name, note, time, epochs] = ["run-sub", "run-sub", "run-sub middle-sub", "run-sub middle-sub"].map(
      (kind) => h("span", { class: `${kind} small muted` }),
    );
    const [started, steps, size] = [h("span", {}), h("span", {}), h("span", {})];
    const parameters = h("span", { class: "run-parameters" });
    const more = h(
      "button",
      {
        class: "button quiet small",
        type: "button",
        "aria-haspopup": "menu",
        "aria-expanded": "false",
        "aria-label": `Actions of ${run.id}`,
        on: { click: () => openActions(more, row.run) },
      },
      "⋯",
    );
    const first = h(
      "th",
      { scope: "row" },
      h("a", { class: "mono", href: `/runs/${run.id}` }, run.id),
      name,
      note,
    );
    cell.state.append(chip.chip);
    cell.started.append(started, time);
    cell.step.append(steps, epochs);
    cell.size.append(size, parameters);
    const tr = h(
      "tr",
      {},
      h("td", { class: "tick" }, h("label", {}, box)),
      first,
      COLUMNS.slice(1).map(([key]) => cell[key]),
      h("td", { class: "more" }, more),
    );
    const row = { tr, run, update };
    function update(next) {
      row.run = next;
      setText(name, next.name);
      setText(cell.name, next.name || "–");
      chip.update(next.state);
      setText(note, firstLine(next.notes));
      setText(started, when(next.started));
      setText(cell.time, clock(next.elapsed_s ?? undefined));
      setText(time, `took ${clock(next.elapsed_s ?? undefined)}`);
      setText(size, next.size ?? "–");
      setText(parameters, Number.isFinite(next.parameters) ? compact(next.parameters) : "");
      setText(cell.loss, number(next.bits_per_byte, 4));
      setText(cell.notes, firstLine(next.notes));
      setAttr(cell.notes, "title", next.notes.trim() || null);
      setAttr(cell.state, "title", next.reason || null);
      setText(steps, ofTotal(next.step, next.steps));
      setText(cell.epoch, ofTotal(next.epoch, next.epochs, epoch));
      setText(epochs, `${ofTotal(next.epoch, next.epochs, epoch)} epochs`);
    }
    update(run);
    return row;
  }

  function openActions(button, run) {
    const why = blocked(run);
    openMenu(button, `Actions of ${run.id}`, [
      { label: "Open", act: () => context.navigate(`/runs/${run.id}`) },
      { label: "Benchmarks", act: () => context.navigate(`/benchmarks/${run.id}`) },
      {
        label: run.state === "done" ? "Train on…" : "Resume",
        act: () => resume(run, context),
        disabled: unresumable(run),
      },
      { label: "Clone settings", act: () => clone(run, context) },
      { label: "Delete…", act: () => remove(run, load), disabled: why, kind: "bad" },
    ]);
  }

  function arrange() {
    const value = COLUMNS.find(([key]) => key === sort)[2];
    const wanted = filter.value.trim().toLowerCase().split(/\s+/);
    const matches = (run) => {
      const all = text(`${run.id} ${run.name} ${run.state} ${run.size ?? ""} ${run.notes}`);
      return wanted.every((word) => all.includes(word));
    };
    const unknown = (found) => found === null || found === undefined || found === "";
    const inOrder = runs.filter(matches).sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      if (unknown(x) || unknown(y)) return unknown(x) - unknown(y); // the unknown comes last
      return (x < y ? -1 : x > y ? 1 : 0) * direction || b.started - a.started;
    });
    inOrder.forEach((run, i) => {
      const { tr } = rows.get(run.id);
      if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] ?? null);
    });
    while (body.children.length > inOrder.length) body.lastChild.remove();
    COLUMNS.forEach(([key], i) => {
      const current = key === sort ? (direction > 0 ? "ascending" : "descending") : null;
      setAttr(headings[i], "aria-sort", current);
      setText(headings[i].querySelector(".arrow"), current ? (direction > 0 ? "▲" : "▼") : "");
    });
    setText(
      tally,
      inOrder.length === runs.length
        ? `${runs.length} run${runs.length === 1 ? "" : "s"}`
        : `${inOrder.length} of ${runs.length} runs`,
    );
    setHidden(nothing, inOrder.length > 0);
    setHidden(table, inOrder.length === 0);
  }

  async function load() {
    try {
      const found = (await get("/api/runs")).runs;
      if (gone) return;
      runs = found;
      setHidden(problem, true);
    } catch (error) {
      if (gone) return;
      setText(problem, error.message);
      setHidden(problem, false);
      return;
    }
    const there = new Set(runs.map((run) => run.id));
    for (const id of rows.keys())
      if (!there.has(id)) {
        rows.get(id).tr.remove();
        rows.delete(id);
        ticked.delete(id);
      }
    for (const run of runs) {
      if (rows.has(run.id)) rows.get(run.id).update(run);
      else rows.set(run.id, newRow(run));
    }
    setHidden(panel, runs.length === 0);
    setHidden(empty, runs.length > 0);
    arrange();
    showTicked();
  }

  const changed = ({ detail }) => {
    if (detail.includes("runs")) load();
  };
  const stepped = ({ detail }) => {
    const { run, step } = context.live.view ?? {};
    const row = run && rows.get(run.id);
    if (!row || !run.running || !detail.has("step") || !step) return;
    Object.assign(row.run, {
      step: step.step,
      steps: step.steps,
      epoch: step.epoch,
      elapsed_s: step.elapsed_s,
    });
    row.update(row.run);
  };
  const connected = () => {
    if (context.live.connected) load();
  };
  context.live.addEventListener("changed", changed);
  context.live.addEventListener("view", stepped);
  context.live.addEventListener("connection", connected);
  load();
  return () => {
    gone = true;
    context.live.removeEventListener("changed", changed);
    context.live.removeEventListener("view", stepped);
    context.live.removeEventListener("connection", connected);
  };
}
