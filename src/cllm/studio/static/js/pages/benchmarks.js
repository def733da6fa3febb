// The benchmarks page: the report of a run, made here on demand, and its export.

import { get, post } from "../api.js";
import { h, setHidden, setText, toast } from "../dom.js";
import { number, when } from "../format.js";
import { reportView } from "../runs/reportview.js";
import { stateChip } from "../words.js";

const FILES = [
  ["md", "Markdown"],
  ["zip", "Markdown with pictures (zip)"],
  ["html", "One HTML file"],
];

export default {
  title: "Benchmarks",
  mount(root, context) {
    const leaving = new AbortController();
    const making = new Set(); // runs whose report is being made
    let runs = [];
    let chosen = context.params.run ?? null;
    let shown = null; // {run, made, stale}: what `content` holds

    const select = h("select", {
      class: "input",
      id: "bench-run",
      on: { change: () => choose(select.value) },
    });
    const chip = stateChip("");
    const open = h("a", { class: "button" }, "Open the run");
    const make = h(
      "button",
      { class: "button primary", type: "button", on: { click: () => makeReport() } },
      "Make report",
    );
    const downloads = FILES.map(([suffix, label]) => [
      suffix,
      h("a", { class: "button", download: true }, label),
    ]);
    const exports = h(
      "div",
      { class: "row", role: "group", "aria-label": "Export the report" },
      h("span", { class: "muted" }, "Export report"),
      downloads.map(([, link]) => link),
    );
    const note = h("span", { class: "muted small" });
    const busy = h(
      "p",
      { class: "panel making", role: "status", hidden: true },
      h("progress", { "aria-label": "The report is being made" }),
      "The report is being made: the model completes the test prompts. This takes some seconds.",
    );
    const bar = h(
      "section",
      { class: "panel bench-bar", "aria-label": "Run and export", hidden: true },
      h(
        "div",
        { class: "row" },
        h("label", { for: "bench-run" }, "Run"),
        h("div", { class: "bench-select" }, select),
        chip.chip,
        open,
        h("span", { class: "spacer" }),
        note,
        make,
      ),
      exports,
    );
    const content = h("div", { class: "stack" });
    root.append(h("div", { class: "stack" }, h("h1", {}, "Benchmarks"), bar, busy, content));

    const empty = (title, text, action) =>
      content.replaceChildren(
        h(
          "section",
          { class: "panel empty" },
          h("h2", {}, title),
          h("p", {}, text),
          action && h("p", { class: "runs-start" }, action),
        ),
      );

    function label(run) {
      const figures = Number.isFinite(run.bits_per_byte)
        ? ` · ${number(run.bits_per_byte, 3)} bits/byte`
        : "";
      return `${run.id} · ${run.name || "–"} · ${run.state}${figures}`;
    }

    function choose(id) {
      chosen = id;
      history.pushState(null, "", `/benchmarks/${id}`);
      load();
    }

    function preselect() {
      const best = runs.find((run) => run.state === "done") ?? runs.find((run) => run.step > 0) ?? runs[0];
      chosen = best.id;
      history.replaceState(null, "", `/benchmarks/${chosen}`);
    }

    async function list() {
      try {
        runs = (await get("/api/runs", leaving.signal)).runs;
      } catch (error) {
        if (error.name !== "AbortError") empty("The runs cannot be listed", error.message);
        return;
      }
      setHidden(bar, runs.length === 0);
      if (!runs.length) {
        empty(
          "No run yet",
          "When a training has ended, its benchmarks are shown here.",
          h("a", { class: "button primary", href: "/training" }, "Start a training"),
        );
        return;
      }
      if (!chosen) preselect();
      runs.forEach((run, i) => {
        const option = select.options[i] ?? select.appendChild(h("option", {}));
        option.value = run.id;
        setText(option, label(run));
      });
      while (select.options.length > runs.length) select.lastChild.remove();
      await load();
    }

    async function load() {
      const id = chosen;
      const run = runs.find((one) => one.id === id);
      select.value = run ? id : "";
      setHidden(chip.chip, !run);
      setHidden(open, !run);
      if (run) chip.update(run.state);
      open.setAttribute("href", `/runs/${id}`);
      for (const [suffix, link] of downloads) link.setAttribute("href", `/api/runs/${id}/report.${suffix}`);
      if (!run) {
        shown = null;
        tools(false);
        setHidden(make, true);
        empty(
          "There is no such run",
          `${id} is not in this workspace, or it is in the trash.`,
          h("a", { class: "button", href: "/runs" }, "All runs"),
        );
        return;
      }
      setHidden(make, false);
      tell();
      try {
        const answer = await get(`/api/runs/${id}/report`, leaving.signal);
        if (answer.report) take(id, answer);
        else none(id);
      } catch (error) {
        if (error.name === "AbortError") return;
        none(id, error);
      }
    }

    function none(id, error = null) {
      if (id !== chosen) return;
      shown = null;
      tools(false);
      if (error) empty("The report cannot be shown", error.message);
      else missing();
    }

    function missing() {
      if (making.has(chosen)) content.replaceChildren();
      else
        empty(
          "No report of this run yet",
          "It gathers times, losses, spheres, speed and memory, and lets the model complete test prompts.",
          h(
            "button",
            { class: "button primary", type: "button", on: { click: () => makeReport() } },
            "Make report",
          ),
        );
    }

    function take(id, { report, made, stale }) {
      if (id !== chosen || leaving.signal.aborted) return;
      const same = shown && shown.run === id && shown.made === made;
      shown = { run: id, made, stale };
      tools(true);
      if (!same) content.replaceChildren(...reportView(report));
    }

    function tools(there) {
      setHidden(exports, !there);
      tell();
    }

    function tell() {
      const mine = shown?.run === chosen ? shown : null;
      setHidden(busy, !making.has(chosen));
      make.disabled = making.has(chosen);
      make.className = mine && !mine.stale ? "button" : "button primary";
      setText(make, making.has(chosen) ? "Being made…" : mine ? "Make it again" : "Make report");
      setText(
        note,
        !mine
          ? ""
          : mine.stale
            ? `made ${when(mine.made)}; the run has gone on since`
            : `made ${when(mine.made)}`,
      );
      note.className = mine?.stale ? "warn small" : "muted small";
    }

    async function makeReport() {
      const id = chosen;
      making.add(id);
      if (!shown || shown.run !== id) content.replaceChildren();
      tell();
      let answer = null;
      try {
        answer = await post(`/api/runs/${id}/report`, {}, leaving.signal);
      } catch (error) {
        if (error.name !== "AbortError") toast(error.message, { kind: "bad" });
      }
      making.delete(id);
      if (id !== chosen || leaving.signal.aborted) return;
      if (answer) take(id, answer);
      else if (!shown) missing();
      tell();
    }

    const changed = ({ detail }) => {
      if (detail.includes("runs")) list();
    };
    context.live.addEventListener("changed", changed);
    list();
    return () => {
      context.live.removeEventListener("changed", changed);
      leaving.abort();
    };
  },
};
