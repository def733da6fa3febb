// The page on which a model is tried: choose it, give a prompt, read what it writes.

import { stream } from "../api.js";
import { h, setAttr, setHidden, setText } from "../dom.js";
import { historyFold } from "../llm/history.js";
import { modelsPanel } from "../llm/models.js";
import { outputPanel } from "../llm/output.js";
import { samplingPanel } from "../llm/sampling.js";

const kept = { prompt: null }; // it outlives a visit to another page

export default {
  title: "LLM",
  mount(root, context) {
    const { meta, live } = context;
    const wanted = new URLSearchParams(location.search).get("model") ?? kept.model ?? null;
    let running = null; // the AbortController of the completion that runs

    const models = modelsPanel(wanted, (model) => {
      kept.model = model?.id ?? null;
      const query = model ? `?model=${encodeURIComponent(model.id)}` : "";
      if (location.pathname === "/llm") history.replaceState(null, "", `/llm${query}`);
      offer(model?.language ?? null);
      update();
    });
    const prompt = h("textarea", { id: "prompt", class: "input mono prompt", rows: 6, spellcheck: "false",
      value: kept.prompt ?? "",
      on: { input: () => { kept.prompt = prompt.value; }, keydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); complete(); }
      } } });
    const go = h("button", { class: "button primary", type: "button", on: { click: () => complete() } }, "Complete");
    const stop = h("button", { class: "button", type: "button", hidden: true, on: { click: () => running?.abort() } }, "Stop");
    const hint = h("span", { class: "muted small" }, "Ctrl+Enter completes, Escape stops");
    const examples = h("div", { class: "row examples", role: "group", "aria-label": "Prompts of the guide" });
    const before = historyFold((entry) => { take(entry.prompt); sampling.fill(entry.settings ?? {}); });
    const output = outputPanel();
    const sampling = samplingPanel(meta, kept, () => {});

    root.append(h("h1", { class: "visually-hidden" }, "LLM"),
      h("div", { class: "llm" }, models.node,
        h("div", { class: "stack" },
          h("section", { class: "panel" },
            h("div", { class: "panel-head" }, h("h2", {}, h("label", { for: "prompt" }, "Prompt"))), examples, prompt,
            h("div", { class: "row prompt-actions" }, go, stop, hint), before.node),
          output.node),
        sampling.node));

    /** The guide's prompts, those in the model's language first; one of these is there to begin with. */
    function offer(language) {
      const own = meta.prompts[language] ?? meta.prompts[""];
      const texts = [...new Set([...own, ...meta.guide_prompts])];
      examples.replaceChildren(...texts.map((text) =>
        h("button", { class: "chip mono example", type: "button", title: text, on: { click: () => take(text) } }, text.trim().split("\n", 1)[0])));
      if (kept.prompt === null) prompt.value = own[0];
    }

    function take(text) {
      prompt.value = kept.prompt = text;
      prompt.focus();
    }

    function update() {
      go.disabled = Boolean(running) || !models.chosen();
      setHidden(stop, !running);
      setAttr(output.node, "aria-busy", running ? "true" : null);
      setText(go, running ? "Writing…" : "Complete");
    }

    async function complete() {
      const model = models.chosen();
      const settings = sampling.values();
      if (running || !model || !settings) return;
      const mine = (running = new AbortController());
      update();
      output.begin(prompt.value, model.language);
      before.add({ prompt: prompt.value, settings, model: model.name, time: Date.now() / 1000 });
      let ended = false;
      try {
        await stream("/api/complete", { model: model.id, prompt: prompt.value, settings }, (line) => {
          if (line.text !== undefined) output.add(line.text);
          if (line.done) { ended = true; output.done(line.done); }
          if (line.error) { ended = true; output.failed(line.error); }
        }, mine.signal);
        if (!ended) output.failed("The completion ended without a word: try again.");
      } catch (error) {
        if (error.name === "AbortError") output.stopped();
        else output.failed(error.message);
      } finally {
        running = null;
        update();
      }
    }

    const refresh = () => models.load().catch((error) => output.failed(error.message));
    const onChanged = (event) => { if (event.detail.includes("models")) refresh(); };
    const onKey = (event) => { if (event.key === "Escape") running?.abort(); };
    live.addEventListener("changed", onChanged);
    document.addEventListener("keydown", onKey);
    offer(null);
    update();
    refresh();
    return () => {
      running?.abort();
      live.removeEventListener("changed", onChanged);
      document.removeEventListener("keydown", onKey);
    };
  },
};
