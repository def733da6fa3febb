// What one can do with a run: continue it, take its settings over into a new one, delete it.

import { del, get, post } from "../api.js";
import { confirmDialog, h, setAttr, setHidden, setText, toast } from "../dom.js";
import { isBusy } from "../words.js";

const failed = (error) => toast(error.message, { kind: "bad" });

/** Continue a run. One that is done is asked for its new totals first. Goes to the training page. `refused` gets an error. */
export async function resume(run, context, refused = failed) {
  try {
    if (run.state === "done") {
      const { settings } = await get(`/api/runs/${run.id}`);
      const asked = await askTotals(run, settings, (body) => post(`/api/runs/${run.id}/resume`, body));
      if (asked) leave(asked, context);
    } else {
      leave(await post(`/api/runs/${run.id}/resume`, {}), context);
    }
  } catch (error) {
    refused(error);
  }
}

function leave(answer, context) {
  for (const warning of answer.warnings ?? []) toast(warning, { kind: "bad" });
  toast(`Continues at step ${answer.step}`);
  context.navigate("/training");
}

/** Ask for new totals; resolves to what `send` answers, or to null. A refusal stays in the dialog. */
function askTotals(run, settings, send) {
  const byTime = Number.isFinite(settings.minutes);
  const field = (id, label, value, unit, step, hint) => {
    const input = h("input", {
      id,
      type: "number",
      min: step,
      step,
      value: value ?? "",
      inputmode: "decimal",
    });
    const node = h(
      "div",
      { class: "field" },
      h("label", { for: id }, label),
      h("div", { class: "box" }, input, h("span", { class: "unit" }, unit)),
      h("p", { class: "hint" }, hint),
    );
    return { input, node };
  };
  const planned = Math.round(run.epochs ?? settings.epochs);
  const epochs = field(
    "resume-epochs",
    "Epochs in all",
    byTime ? null : 2 * planned,
    "epochs",
    "1",
    `${Number((run.epoch ?? 0).toFixed(1))} are done`,
  );
  const minutes = field(
    "resume-minutes",
    "Minutes in all",
    byTime ? 2 * settings.minutes : null,
    "minutes",
    "any",
    byTime ? `it was given ${settings.minutes}` : "leave empty for no limit",
  );
  const problem = h("p", { class: "problem bad", role: "alert", hidden: true });
  const go = h("button", { class: "button primary", type: "submit" }, "Continue training");

  return new Promise((resolve) => {
    let answer = null;
    const dialog = h("dialog", { class: "resume", "aria-labelledby": "resume-title" });
    const submit = async (event) => {
      event.preventDefault();
      const body = {};
      if (epochs.input.value) body.epochs = Number(epochs.input.value);
      if (minutes.input.value) body.minutes = Number(minutes.input.value);
      setHidden(problem, true);
      setAttr(go, "disabled", true);
      try {
        answer = await send(body);
        dialog.close();
      } catch (error) {
        setText(problem, error.message);
        setHidden(problem, false);
      }
      setAttr(go, "disabled", null);
    };
    dialog.append(
      h("h2", { id: "resume-title" }, "Train on"),
      h("p", {}, `${run.id} has done what was planned. Give the totals up to which it shall go on.`),
      h(
        "form",
        { class: "stack", on: { submit } },
        h("div", { class: "resume-fields" }, epochs.node, minutes.node),
        problem,
        h(
          "div",
          { class: "row" },
          h("button", { class: "button", type: "button", on: { click: () => dialog.close() } }, "Cancel"),
          go,
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    const first = byTime ? minutes.input : epochs.input;
    first.focus();
    first.select();
  });
}

/** Take data and what was set over into the form of the training page. */
export async function clone(run, context) {
  try {
    const { settings, set, paths, stdlib, only } = await get(`/api/runs/${run.id}`);
    const own = Object.fromEntries(set.map((name) => [name, settings[name]]));
    sessionStorage.setItem("cllm-clone", JSON.stringify({ settings: own, paths, stdlib, only }));
    context.navigate("/training");
  } catch (error) {
    failed(error);
  }
}

/** Ask, move to the trash, offer to take it back. `then` is called after each change. */
export async function remove(run, then) {
  const sure = await confirmDialog({
    title: `Delete ${run.id}?`,
    text: "This moves the run to the trash. Models and checkpoints that it published stay.",
    actions: [{ label: "Delete", value: true, kind: "danger" }],
  });
  if (!sure) return;
  try {
    await del(`/api/runs/${run.id}`);
  } catch (error) {
    failed(error);
    return;
  }
  const undo = async () => {
    try {
      await post(`/api/runs/${run.id}/restore`, {});
      toast(`${run.id} is back`);
      then();
    } catch (error) {
      failed(error);
    }
  };
  toast(`${run.id} is in the trash`, { undo });
  then();
}

/** Why a run cannot be deleted at present; empty if it can. */
export const blocked = (run) => (isBusy(run.state) ? "It is running: stop it first" : "");

/** Why a run cannot be resumed at present; empty if it can. */
export const unresumable = (run) => blocked(run) || (run.resumable ? "" : "Nothing was saved that it could go on from");
