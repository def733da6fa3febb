// What the model writes for one fixed prompt at each validation.

import { h, setAttr, setHidden, setText } from "./dom.js";
import { count } from "./format.js";
import { epoch } from "./words.js";

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
