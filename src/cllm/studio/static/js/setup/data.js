// Choosing the data: a directory is scanned, files are ticked.

import { get, post } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { bytes, count } from "../format.js";
import { chooseAsRun, FileTree } from "./files.js";
import { treeView } from "./tree.js";

const MOST_EXTENSIONS = 8;
const OWN = new Set(["runs", "models", "checkpoints"]);
const KEY = "cllm-directory";
const CANCEL_AFTER_S = 2; // a second press on Scan Dir must not end the scan that the first one began

/** The panel. `request()` is the data part of a training request, or null with nothing chosen; `clone(run)` takes a
 * run's data over; `lock(text | null)` shows what a running training uses instead. `kept` outlives the page. */
export function dataPanel(context, kept, changed) {
  const directory = h("input", { id: "directory", list: "directories", class: "input mono", autocomplete: "off", spellcheck: "false",
    placeholder: "training_data/", on: { keydown: (event) => { if (event.key === "Enter") scan(); }, input: () => { suggest(); refresh(); } } });
  const suggestions = h("datalist", { id: "directories" });
  const scanButton = h("button", { class: "button scan", type: "button", on: { click: pressScan } }, "Scan Dir");
  const problem = h("p", { class: "problem", role: "alert", id: "directory-problem", hidden: true });
  const all = h("button", { class: "button small", type: "button", on: { click: () => tickAll(true) } }, "Select All");
  const none = h("button", { class: "button small", type: "button", on: { click: () => tickAll(false) } }, "None");
  const name = h("input", { class: "input small-input", type: "search", placeholder: "Filter by name", "aria-label": "Filter by name",
    on: { input: () => applyFilter() } });
  const extensions = h("div", { class: "extensions", role: "group", "aria-label": "Filter by extension" });
  const summary = h("p", { class: "selection number", role: "status" });
  const empty = h("p", { class: "tree-empty muted" }, "Scan a directory to see its files.");
  const stdlib = h("input", { type: "checkbox", on: { change: () => { kept.stdlib = stdlib.checked; say(""); changed(); } } });
  const tree = treeView(() => { say(""); summarise(); });
  const tools = h("div", { class: "row data-tools" }, all, none, name);
  const form = h("fieldset", { class: "stack data-form", "aria-labelledby": "data-head" },
    h("div", { class: "field" },
      h("label", { for: "directory" }, "Directory"),
      h("div", { class: "box" }, directory, scanButton), suggestions, problem),
    tools, extensions, h("div", { class: "tree-frame" }, tree.node, empty), summary,
    h("label", { class: "check small" }, stdlib, "Python's standard library as well"));
  const locked = h("p", { class: "small data-locked", hidden: true });
  const node = h("section", { class: "panel setup-data", "aria-labelledby": "data-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "data-head" }, "Data")), locked, form);
  const chosen = new Set();
  let scanning = null;

  async function begin() {
    stdlib.checked = Boolean(kept.stdlib);
    if (kept.tree) take(kept.tree);
    else refresh();
    const usually = kept.directory ?? remembered() ?? (await usual());
    if (!directory.value) directory.value = usually; // a clone may have come meanwhile
    suggest();
  }

  /** training_data; or the only sensible directory where it would be; or the first root. */
  async function usual() {
    try {
      const names = (await get(`/api/directories?under=${encodeURIComponent(context.meta.workspace)}`)).directories
        .map((path) => path.split("/").at(-1)).filter((one) => !OWN.has(one));
      if (names.includes("training_data") || !names.length) return "training_data/";
      return names.length === 1 ? `${names[0]}/` : `${context.meta.roots[0]}/`;
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
      const { roots } = context.meta;
      const allowed = !under.startsWith("/") || roots.some((root) => under.startsWith(`${root}/`) || under === root);
      try {
        const found = allowed ? (await get(`/api/directories?under=${encodeURIComponent(under)}`)).directories : [];
        suggestions.replaceChildren(...[...new Set([...found, ...roots])].map((path) => h("option", { value: `${path}/` })));
      } catch { /* it is only a help */ }
    }, 200);
  }

  function pressScan() {
    if (!scanning) scan();
    else if (scanning.seconds >= CANCEL_AFTER_S) scanning.abort();
  }

  /** Scan what the field names; true if it was scanned, false if that was refused, null if it was given up. */
  async function scan() {
    scanning?.abort();
    const mine = (scanning = new AbortController());
    const asked = directory.value.trim() || "training_data/";
    say("");
    mine.seconds = 0;
    const ticking = setInterval(() => { mine.seconds += 1; if (mine === scanning) showScan(asked, mine.seconds); }, 1000);
    setText(summary, "Scanning…");
    showScan(asked, 0);
    try {
      const found = await post("/api/scan", { directory: asked }, mine.signal);
      if (mine !== scanning) return null;
      kept.directory = asked;
      remember(kept.directory);
      chosen.clear();
      name.value = "";
      take(new FileTree(found));
      say("");
      return true;
    } catch (error) {
      if (error.name === "AbortError" || mine !== scanning) return null;
      say(error.message, directory);
      return false;
    } finally {
      clearInterval(ticking);
      if (mine === scanning) {
        scanning = null;
        setText(scanButton, "Scan Dir");
        refresh();
      }
    }
  }

  function showScan(asked, seconds) {
    setText(empty, `Scanning ${asked}${seconds ? ` · ${seconds} s` : "…"}`);
    setHidden(tree.node, true);
    setHidden(empty, false);
    if (seconds >= CANCEL_AFTER_S) setText(scanButton, "Cancel");
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
    say("");
    kept.tree?.all(on);
    tree.refresh();
    summarise();
  }

  function refresh() {
    if (scanning) return;
    const some = Boolean(kept.tree?.rows.length);
    setHidden(tree.node, !some);
    setHidden(empty, some);
    const first = form.disabled ? "Another directory can be scanned when this training has ended." : "Scan a directory to see its files.";
    setText(empty, !kept.tree ? first : kept.tree.files.length ? "No file matches the filter." : "There is no file in it.");
    for (const control of [all, none, name]) control.disabled = !kept.tree;
    summarise();
  }

  function summarise() {
    const sums = kept.tree?.totals();
    const out = sums?.leftOut ? ` · ${count(sums.leftOut)} left out` : "";
    const of = directory.value.trim() === kept.directory ? "" : ` · of ${kept.directory}`; // another one is typed, not scanned
    const files = sums && `${count(sums.ticked)} of ${count(sums.able)} file${sums.able === 1 ? "" : "s"}`;
    setText(summary, sums ? `${files}, ${bytes(sums.bytes)}${out}${of}` : "Nothing is selected.");
    setHidden(summary, !sums && form.disabled);
    changed();
  }

  /** What is wrong, and with which control. */
  function say(text, control = null) {
    setText(problem, text);
    setHidden(problem, !text);
    for (const one of [directory, all]) {
      setAttr(one, "aria-invalid", one === directory && one === control ? "true" : null);
      setAttr(one, "aria-describedby", one === control ? problem.id : null);
    }
  }

  begin();
  return {
    node,
    request() {
      if (scanning) return null; // what is ticked is about to be another
      const data = kept.tree?.request();
      const some = data && (data.files === null || data.files.length + data.prepared.length > 0);
      if (some) return { ...data, stdlib: stdlib.checked };
      return stdlib.checked ? { root: null, files: null, prepared: [], stdlib: true } : null;
    },
    /** Nothing is chosen: say what to do, where it is done. */
    refuse() {
      const control = kept.tree && !scanning ? all : directory;
      const usable = kept.tree?.totals().able ? "Tick at least one file, or press Select All." : "No file in it can be used: scan another directory.";
      const ask = kept.tree ? usable : "Scan a directory and tick files first.";
      say(scanning ? "The scan is not done yet: wait for it, then tick files." : ask, control);
      control.focus();
    },
    /** Tick what a run was trained on; resolves to what could not be taken over, or to "". */
    async clone(run) {
      stdlib.checked = kept.stdlib = Boolean(run.stdlib);
      if (!run.paths.length) {
        kept.tree?.all(false);
        applyFilter();
        return "";
      }
      const last = run.paths.at(-1);
      directory.value = `${last}/`;
      let scanned = await scan();
      if (scanned === false) { // a file by itself: it is ticked in its directory
        directory.value = last.slice(0, last.lastIndexOf("/") + 1);
        scanned = await scan();
      }
      if (!scanned) return "its data could not be scanned";
      const missing = chooseAsRun(kept.tree, run);
      tree.refresh();
      summarise();
      if (!missing) return "";
      return `${count(missing)} of its ${missing === 1 ? "files or directories is" : "files and directories are"} not here`;
    },
    /** While a training runs: what it uses; null gives the form back. */
    lock(text) {
      setText(locked, text ? `In use: ${text}.${kept.tree ? " What is ticked below is for the next training." : ""}` : "");
      setHidden(locked, !text);
      form.disabled = Boolean(text);
      tree.lock(Boolean(text));
      refresh();
    },
    destroy() {
      clearTimeout(waiting);
      scanning?.abort();
      scanning = null;
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
