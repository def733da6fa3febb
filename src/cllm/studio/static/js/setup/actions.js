// The buttons that start, stop, save and resume, and the one line that says why something did not work.

import { post } from "../api.js";
import { confirmDialog, h, setAttr, setHidden, setText, toast } from "../dom.js";
import { resume } from "../runs/actions.js";

const RESUMABLE = ["stopped", "interrupted", "failed"];
const AWAIT_MS = 10_000; // a started run is in view long before
const SAVING_MS = 60_000; // then another save may be asked for, even if the first was never told

const STOP_TRAINING = {
  title: "Stop the training?",
  text: "Stop and save keeps a checkpoint of this very step, from which Resume goes on. Without saving, what was learnt "
    + "since the last checkpoint is lost.",
  cancel: "Go on training",
  actions: [{ label: "Stop without saving", value: "discard", kind: "danger" }, { label: "Stop and save", value: "save", kind: "primary" }],
};
const STOP_PREPARATION = {
  title: "Stop the preparation?",
  text: "No step is trained yet, so there is nothing to save.",
  cancel: "Go on",
  actions: [{ label: "Stop", value: "save", kind: "danger" }],
};

/** The panel; `update(view)` after each change; `start()` resolves to the id of the new run, or rejects. */
export function actionsPanel(context, start) {
  const main = h("button", { id: "start", class: "button primary start", type: "button", on: { click: press } }, "START TRAINING");
  const save = h("button", { class: "button", type: "button", on: { click: saveNow } }, "Save");
  const again = h("button", { class: "button", type: "button", on: { click: resumeIt } }, "Resume");
  const problem = h("p", { class: "bad start-problem", role: "alert", hidden: true });
  const node = h("section", { class: "panel actions", "aria-label": "Start, stop, save" }, h("div", { class: "action-row" }, main, save, again), problem);
  let busy = false;
  let awaited = null; // id of the run that was just started
  let saving = null; // {run, since} of a save that was asked for

  function say(text) {
    setText(problem, text);
    setHidden(problem, !text);
  }

  async function during(act) {
    if (busy) return;
    busy = true;
    say("");
    update();
    try {
      await act();
    } catch (error) {
      if (error.message) say(error.message);
    } finally {
      busy = false;
      update();
    }
  }

  /** Whether a button acts at present. It keeps the focus where it does not, unlike a disabled one. */
  const enable = (button, can) => setAttr(button, "aria-disabled", can ? null : "true");
  const can = (button) => !button.hasAttribute("aria-disabled");

  function press() {
    if (!can(main)) return;
    if (running()) stop();
    else during(async () => {
      awaited = await start();
      setTimeout(() => { awaited = null; update(); }, AWAIT_MS);
    });
  }

  async function stop() {
    const { id, state } = context.live.view.run;
    const answer = await confirmDialog(state === "training" ? STOP_TRAINING : STOP_PREPARATION);
    if (answer) during(() => post(`/api/runs/${id}/stop`, { save: answer === "save" }));
  }

  function resumeIt() {
    if (can(again)) during(() => resume(context.live.view.run, context, ({ message }) => say(message)));
  }

  function saveNow() {
    if (!can(save)) return;
    const { run, checkpoint } = context.live.view;
    during(async () => {
      await post(`/api/runs/${run.id}/save`, {});
      const mine = (saving = { run: run.id, since: checkpoint?.time ?? 0 });
      setTimeout(() => { if (saving === mine) { saving = null; update(); } }, SAVING_MS);
    });
  }

  const running = () => Boolean(context.live.view?.run?.running);

  function update() {
    const view = context.live.view;
    const run = view?.run;
    if (awaited && run?.id === awaited) awaited = null;
    if (saving && (run?.id !== saving.run || !run.running)) saving = null;
    if (saving && view.checkpoint?.kind === "save" && view.checkpoint.time > saving.since) {
      toast(`Saved: ${view.checkpoint.path.split("/").at(-1)}`);
      saving = null;
    }
    const on = running();
    setText(main, on ? "STOP TRAINING" : awaited ? "STARTING…" : "START TRAINING");
    setAttr(main, "class", on ? "button danger start" : "button primary start");
    enable(main, view && !busy && !awaited && run?.state !== "stopping");
    enable(save, !busy && !saving && run?.state === "training");
    setText(save, saving ? "Saving…" : "Save");
    setHidden(again, on || !RESUMABLE.includes(run?.state) || !run.resumable);
    enable(again, !busy && !awaited);
  }

  return { node, update, say };
}
