// Choosing the data: a directory is scanned, files are ticked.

import { get, post } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { bytes, count } from "../format.js";
import { FileTree } from "./files.js";
import { treeView } from "./tree.js";

const MOST_EXTENSIONS = 8;
const OWN = new Set(["runs", "models", "checkpoints"]);
const KEY = "cllm-directory";

/** The panel. `request()` is the data part of a training request, or null with nothing chosen; `clone(run)` takes a
 * run's data over; `lock(text | null)` shows what a running training uses instead. `kept` outlives the page. */
export function dataPanel(context, kept, changed) {
  const directory = h("input", { id: "directory", list: "directories", class: "input mono", autocomplete: "off", spellcheck: "false",
    placeholder: "training_data/", on: { keydown: (event) => { if (event.key === "Enter") scan(); }, input: () => suggest() } });
  const suggestions = h("datalist", { id: "directories" });
  const scanButton = h("button", { class: "button", type: "button", on: { click: () => scan() } }, "Scan Dir");
  const problem = h("p", { class: "problem", role: "alert", id: "directory-problem", hidden: true });
  const all = h("button", { class: "button small", type: "button", on: { click: () => tickAll(true) } }, "Select All");
  const none = h("button", { class: "button small", type: "button", on: { click: () => tickAll(false) } }, "None");
  const name = h("input", { class: "input small-input", type: "search", placeholder: "Filter by name", "aria-label": "Filter by name",
    on: { input: () => applyFilter() } });
  const extensions = h("div", { class: "extensions", role: "group", "aria-label": "Filter by extension" });
  const summary = h("p", { class: "selection number", role: "status" });
  const empty = h("p", { class: "tree-empty muted" }, "Scan a directory to see its files.");
  const stdlib = h("input", { type: "checkbox", on: { change: () => { kept.stdlib = stdlib.checked; changed(); } } });
  const tree = treeView(() => summarise());
  const tools = h("div", { class: "row data-tools" }, all, none, name);
  const form = h("div", { class: "stack data-form" },
    h("div", { class: "field" },
      h("label", { for: "directory" }, "Directory"),
      h("div", { class: "box" }, directory, scanButton), suggestions, problem),
    tools, extensions, h("div", { class: "tree-frame" }, tree.node, empty), summary,
    h("label", { class: "check small" }, stdlib, "Python's standard library as well"));
  const locked = h("p", { class: "muted small", hidden: true });
  const node = h("section", { class: "panel setup-data", "aria-labelledby": "data-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "data-head" }, "Data"), h("span", { class: "spacer" }), locked), form);
  const chosen = new Set();
  let scanning = null;

  async function begin() {
    directory.value = kept.directory ?? remembered() ?? (await usual());
    stdlib.checked = Boolean(kept.stdlib);
    if (kept.tree) take(kept.tree);
    else refresh();
    suggest();
  }

  /** training_data, or the only sensible directory beside it. */
  async function usual() {
    try {
      const names = (await get(`/api/directories?under=${encodeURIComponent(context.meta.workspace)}`)).directories
        .map((path) => path.split("/").at(-1)).filter((one) => !OWN.has(one));
      return names.includes("training_data") || names.length !== 1 ? "training_data/" : `${names[0]}/`;
    } catch {
      return "training_data/";
    }
  }

  let waiting = null;
  function suggest() {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const typed = directory.value;
      const under = typed.slice(0, typed.lastIndexOf("/") + 1) || context.meta.workspace;
      try {
        const found = (await get(`/api/directories?under=${encodeURIComponent(under)}`)).directories;
        suggestions.replaceChildren(...[...new Set([...found, ...context.meta.roots])].map((path) => h("option", { value: `${path}/` })));
      } catch { /* it is only a help */ }
    }, 200);
  }

  async function scan() {
    scanning?.abort();
    const mine = (scanning = new AbortController());
    say("");
    scanButton.disabled = true;
    setText(empty, "Scanning…");
    setHidden(empty, false);
    try {
      const found = await post("/api/scan", { directory: directory.value || "training_data/" }, mine.signal);
      kept.directory = directory.value || "training_data/";
      remember(kept.directory);
      chosen.clear();
      name.value = "";
      take(new FileTree(found));
    } catch (error) {
      if (error.name !== "AbortError") { say(error.message); refresh(); }
    } finally {
      if (mine === scanning) { scanning = null; scanButton.disabled = false; }
    }
  }

  function take(next) {
    kept.tree = next;
    next.filter("", chosen);
    extensions.replaceChildren(...next.extensions().slice(0, MOST_EXTENSIONS).map(([one, number]) => {
      const button = h("button", { class: "chip extension", type: "button", "aria-pressed": "false",
        on: { click: () => {
          if (!chosen.delete(one)) chosen.add(one);
          setAttr(button, "aria-pressed", String(chosen.has(one)));
          applyFilter();
        } } }, one, h("span", { class: "number" }, count(number)));
      return button;
    }));
    tree.show(next);
    refresh();
  }

  function applyFilter() {
    if (!kept.tree) return;
    kept.tree.filter(name.value, chosen);
    tree.show(kept.tree);
    refresh();
  }

  function tickAll(on) {
    kept.tree?.all(on);
    tree.refresh();
    summarise();
  }

  function refresh() {
    const some = Boolean(kept.tree?.rows.length);
    setHidden(tree.node, !some);
    setHidden(empty, some);
    setText(empty, !kept.tree ? "Scan a directory to see its files." : kept.tree.files.length ? "No file matches the filter." : "There is no file in it.");
    for (const control of [all, none, name]) control.disabled = !kept.tree;
    summarise();
  }

  function summarise() {
    const sums = kept.tree?.totals();
    const out = sums?.leftOut ? ` · ${count(sums.leftOut)} left out` : "";
    setText(summary, sums ? `${count(sums.ticked)} of ${count(sums.able)} file${sums.able === 1 ? "" : "s"}, ${bytes(sums.bytes)}${out}` : "Nothing is selected.");
    changed();
  }

  function say(text) {
    setText(problem, text);
    setHidden(problem, !text);
    setAttr(directory, "aria-invalid", text ? "true" : null);
    setAttr(directory, "aria-describedby", text ? problem.id : null);
  }

  begin();
  return {
    node,
    request() {
      const data = kept.tree?.request();
      const some = data && (data.files === null || data.files.length + data.prepared.length > 0);
      if (some) return { ...data, stdlib: stdlib.checked };
      return stdlib.checked ? { root: null, files: null, prepared: [], stdlib: true } : null;
    },
    refuse(text) {
      say(text);
      directory.focus();
    },
    async clone({ paths, stdlib: own, only }) {
      stdlib.checked = kept.stdlib = Boolean(own);
      if (!paths.length) return;
      kept.directory = directory.value = paths.at(-1);
      await scan();
      if (kept.tree) {
        if (only) kept.tree.choose(only);
        else kept.tree.all(true);
        tree.refresh();
        summarise();
      }
    },
    lock(text) {
      setText(locked, text ?? "");
      setHidden(locked, !text);
      form.inert = Boolean(text);
      setAttr(form, "class", text ? "stack data-form locked" : "stack data-form");
    },
    destroy() {
      clearTimeout(waiting);
      scanning?.abort();
      tree.destroy();
    },
  };
}

function remembered() {
  try { return localStorage.getItem(KEY); } catch { return null; }
}

function remember(directory) {
  try { localStorage.setItem(KEY, directory); } catch { /* until the page is left */ }
}
