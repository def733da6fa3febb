// What the model writes for one fixed prompt at each validation.

import { guess, highlightFrom } from "./highlight.js";
import { h, setAttr, setHidden, setText } from "./dom.js";
import { count, number } from "./format.js";
import { epoch } from "./words.js";

/** The panel; a slider goes through the run, and stays at its newest while nobody moves it back. */
export function samplesPanel() {
  const range = h("input", {
    type: "range",
    id: "sample-at",
    class: "sample-at",
    min: "0",
    value: "0",
    on: { input: () => draw() },
  });
  const where = h("output", { class: "muted number", for: "sample-at" });
  const prompt = h("span", { class: "given" });
  const text = h("span", {});
  const node = h(
    "section",
    { class: "panel", hidden: true },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, h("label", { for: "sample-at" }, "Samples")),
      h("span", { class: "muted small" }, "after a fixed prompt, at each validation"),
      h("span", { class: "spacer" }),
      where,
      range,
    ),
    h(
      "pre",
      { class: "code sample", tabindex: "0", role: "region", "aria-label": "Sample: the prompt, and what follows" },
      prompt,
      text,
    ),
  );
  let samples = [];
  let validations = [];
  let many = 0; // the live list is one that grows
  let drawn = null;

  function draw() {
    const at = Number(range.value);
    const one = samples[at];
    if (!one || one === drawn) return;
    drawn = one;
    const bits = validations.find((row) => row.step === one.step)?.bits_per_byte;
    const held = Number.isFinite(bits) ? ` · ${number(bits, 3)} bits/byte` : "";
    setText(where, `${at + 1} of ${many} · step ${count(one.step)}, epoch ${epoch(one.epoch)}${held}`);
    setAttr(range, "aria-valuetext", `step ${one.step}`);
    const whole = one.prompt + one.text;
    const [before, after] = highlightFrom(whole, guess(whole), one.prompt.length);
    prompt.replaceChildren(before);
    text.replaceChildren(after);
  }
  return {
    node,
    /** `curve`: its samples and validations. */
    show(curve) {
      const isAtEnd = Number(range.value) >= many - 1;
      samples = curve.samples ?? [];
      validations = curve.validations ?? [];
      setHidden(node, samples.length === 0);
      setHidden(range, samples.length < 2);
      if (many !== samples.length) {
        many = samples.length;
        setAttr(range, "max", Math.max(0, many - 1));
        if (isAtEnd) range.value = String(many - 1);
        drawn = null;
      }
      draw();
    },
  };
}
