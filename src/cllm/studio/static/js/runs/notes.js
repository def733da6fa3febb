// A person's notes of a run, kept as they are typed.

import { put } from "../api.js";
import { h, setAttr, setText, toast } from "../dom.js";

const WAIT_MS = 600;

/** The editor. Returns {node, flush()}: flush keeps what is not kept yet. */
export function notesEditor(run, text) {
  const path = `/api/runs/${run}/notes`;
  const said = h("span", { class: "small muted", role: "status" });
  const area = h("textarea", {
    class: "input notes",
    id: "run-notes",
    rows: "5",
    maxlength: "100000",
    placeholder: "What this run was for, what you saw…",
    value: text,
    on: { input: typed },
  });
  let kept = text;
  let timer = null;
  let sending = Promise.resolve();

  function tell(word, kind = "muted") {
    setText(said, word);
    setAttr(said, "class", `small ${kind}`);
  }

  function typed() {
    tell("…");
    clearTimeout(timer);
    timer = setTimeout(keep, WAIT_MS);
  }

  function keep() {
    clearTimeout(timer);
    sending = sending.then(send); // one after the other: the last text must be the one that stays
    return sending;
  }

  async function send() {
    const value = area.value;
    try {
      if (value !== kept) await put(path, { text: value });
      kept = value;
      if (area.value === value) tell("Saved ✓", "good");
    } catch (error) {
      tell(`Not saved: ${error.message}`, "bad");
      if (!area.isConnected) toast(`The notes of ${run} are not saved: ${error.message}`, { kind: "bad" });
    }
  }

  /** A page that is closed may not wait for an answer: `keepalive` lets the request outlive it. */
  function leaving() {
    if (area.value === kept) return;
    const body = JSON.stringify({ text: area.value });
    fetch(path, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      credentials: "same-origin",
      keepalive: body.length < 60000,
      body,
    });
  }

  addEventListener("pagehide", leaving);
  const node = h(
    "section",
    { class: "panel" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", {}, h("label", { for: "run-notes" }, "Notes")),
      h("span", { class: "spacer" }),
      said,
    ),
    area,
  );
  return {
    node,
    flush: () => {
      removeEventListener("pagehide", leaving);
      return keep();
    },
  };
}
