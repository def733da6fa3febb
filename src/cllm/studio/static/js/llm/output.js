// What the model writes, as it comes: the prompt in grey, the completion in colour, and what there is to say of it.

import { h, setAttr, setHidden, setText, toast } from "../dom.js";
import { count, number } from "../format.js";
import { guess, highlightFrom } from "../highlight.js";
import { originsFold } from "./origins.js";

const DRAW_EVERY_MS = 100;
const NAMES = { python: "Python", c: "C" };
const REASONS = { length: "as long as allowed", stop: "a stop string", end: "the model ended it", cancelled: "stopped", context: "the context is full" };

/** The panel; `begin(prompt, language or null)`, `add(piece)`, then `done(facts)`, `stopped()` or `failed(text)`. */
export function outputPanel() {
  const prompt = h("span", { class: "given" });
  const text = h("span", {});
  const code = h("pre", { class: "code completion", tabindex: "0", "aria-label": "Completion" }, prompt, text);
  const empty = h("p", { class: "empty" }, "Choose a prompt and press Complete.");
  const verdict = h("span", { class: "chip" });
  const facts = h("p", { class: "row completion-facts muted small number", role: "status" });
  const origins = originsFold();
  const copy = h("button", { class: "button small", type: "button", on: { click: () => copied(written) } }, "Copy completion");
  const copyAll = h("button", { class: "button small", type: "button", on: { click: () => copied(given + written) } }, "Copy all");
  const node = h("section", { class: "panel output", "aria-labelledby": "output-head" },
    h("div", { class: "panel-head" }, h("h2", { id: "output-head" }, "Completion"), verdict, h("span", { class: "spacer" }), copy, copyAll),
    empty, code, facts, origins.node);
  let [given, written] = ["", ""];
  let language = null;
  let timer = null;
  let begun = 0;
  let first = null;

  function draw() {
    timer = null;
    const [before, after] = highlightFrom(given + written, language ?? guess(given + written), given.length);
    prompt.replaceChildren(before);
    text.replaceChildren(after);
  }

  function end(words) {
    clearTimeout(timer);
    draw();
    setText(facts, words.filter(Boolean).join(" · "));
    copy.disabled = copyAll.disabled = !written;
  }

  async function copied(what) {
    try {
      await navigator.clipboard.writeText(what);
      toast("Copied");
    } catch {
      toast("The browser does not allow copying here: select the text instead", { kind: "bad" });
    }
  }

  function show(some) {
    setHidden(empty, some);
    setHidden(code, !some);
    setHidden(copy, !some);
    setHidden(copyAll, !some);
  }

  /** It is judged as the language that the model was trained on, whatever the prompt is. */
  function judge(syntax) {
    const name = NAMES[language] ? `${NAMES[language]} ` : "";
    const [word, kind] = syntax?.valid === true ? [`✓ ${name}syntax valid`, "good"] : syntax?.valid === false ? [`✗ ${name}syntax error`, "bad"] : ["", ""];
    setText(verdict, word || (syntax?.why ? "syntax not judged" : ""));
    setAttr(verdict, "class", `chip ${kind}`);
    setAttr(verdict, "title", syntax?.why || null);
    if (!verdict.textContent) verdict.replaceChildren();
  }

  show(false);
  return {
    node,
    text: () => written,
    begin(next, spoken) {
      [given, written] = [next, ""];
      language = spoken;
      begun = performance.now();
      first = null;
      judge(null);
      origins.show(null);
      show(true);
      end(["loading the model…"]);
    },
    add(piece) {
      first ??= performance.now() - begun;
      written += piece;
      timer ??= setTimeout(draw, DRAW_EVERY_MS);
    },
    done({ text: all, tokens, tokens_per_s: rate, finish_reason: reason, seed, syntax, provenance }) {
      written = all ?? written;
      judge(syntax);
      origins.show(provenance);
      end([`${count(tokens)} tokens`, `${number(rate, 0)} tokens/s`, first !== null && `first after ${number(first / 1000, 2)} s`,
        `ended: ${REASONS[reason] ?? reason}`, `seed ${seed}`, syntax?.valid !== true && syntax?.why]);
    },
    stopped: () => end(["stopped; what was written so far stays"]),
    failed(why) {
      end([]);
      setText(verdict, "failed");
      setAttr(verdict, "class", "chip bad");
      setText(facts, why);
    },
  };
}
