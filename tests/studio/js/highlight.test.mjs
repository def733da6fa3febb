// Colours of code: what is shown is exactly the text, whatever the colours are.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import vm from "node:vm";

const STATIC = new URL("../../../src/cllm/studio/static/", import.meta.url);

/** As much of a document as highlight.js uses. */
class Fragment {
  constructor() { this.parts = []; }
  append(...parts) { this.parts.push(...parts); }
  get text() { return this.parts.map((part) => part.text ?? part).join(""); }
}
globalThis.Node = { TEXT_NODE: 3 };
globalThis.document = {
  createDocumentFragment: () => new Fragment(),
  createElement: (tag) => Object.assign(new Fragment(), { tag, setAttribute(name, value) { this[name] = value; } }),
};
for (const part of ["core", "clike", "c", "cpp", "python"]) {
  vm.runInThisContext(readFileSync(new URL(`vendor/prism/prism-${part}.min.js`, STATIC), "utf8"));
}
const { guess, highlight, highlightFrom } = await import(new URL("js/highlight.js", STATIC));

const PYTHON = 'def f(x):\n    """Doc of f.\n\n    more"""\n    return x + 1  # one\n';
const C = '#include <stdio.h>\nstatic int f(int x) { /* c */ return x + 1; }\n';

test("the text stays as it is, wherever it is cut", () => {
  for (const [text, language] of [[PYTHON, "python"], [C, "c"], [PYTHON, null], ["", "python"], ["é🙂\u2028<b>", "c"]]) {
    for (let at = 0; at <= text.length; at += 1) {
      const [before, after] = highlightFrom(text, language, at);
      assert.equal(before.text, text.slice(0, at));
      assert.equal(after.text, text.slice(at));
    }
  }
});

test("keywords have a colour", () => {
  const spans = highlight(PYTHON, "python").parts.filter((part) => part.tag === "span");
  assert.ok(spans.some((one) => one.class === "tok-keyword" && one.text === "def"));
});

test("a docstring that is being written is a string to its end", () => {
  for (const quotes of ['"""', "'''"]) {
    const text = `def f():\n    ${quotes}It is in the list or`;
    const fragment = highlight(text, "python");
    assert.equal(fragment.text, text);
    assert.match(fragment.parts.at(-1).class, /string/);
    assert.match(fragment.parts.at(-1).text, /^...It is in the list or$/);
  }
});

test("languages are told apart", () => {
  assert.equal(guess(PYTHON), "python");
  assert.equal(guess(C), "c");
  assert.equal(guess("hello"), null);
});
