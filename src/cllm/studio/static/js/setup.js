// Data, parameters, and the buttons that start, stop and save a training.

import { get, post } from "./api.js";
import { toast } from "./dom.js";
import { count } from "./format.js";
import { actionsPanel } from "./setup/actions.js";
import { dataPanel } from "./setup/data.js";
import { parametersPanel } from "./setup/parameters.js";

const kept = {}; // what was chosen outlives a visit to another page

/** Build it into `element`; returns what takes it away again. */
export function mountSetup(element, context) {
  const { live } = context;
  const data = dataPanel(context, kept, () => {});
  const parameters = parametersPanel(context, kept, () => actions.say(""));
  const actions = actionsPanel(context, start);
  element.append(data.node, parameters.node, actions.node);
  let shown = null; // id of the running training whose settings are shown

  async function start() {
    await parameters.settle();
    if (Object.keys(parameters.problems()).length) {
      parameters.focusProblem();
      throw new Error("A parameter is not valid: see the marked field.");
    }
    const request = data.request();
    if (!request) {
      data.refuse();
      throw new Error("");
    }
    return (await post("/api/train", { ...request, settings: parameters.values() })).run;
  }

  async function follow() {
    const run = live.view?.run;
    const id = run?.running ? run.id : null;
    if (id === shown) return;
    shown = id;
    if (!id) {
      data.lock(null);
      parameters.show(null);
      return;
    }
    try {
      const details = await get(`/api/runs/${id}`);
      if (shown !== id) return;
      const names = [...details.paths.map((path) => path.split("/").at(-1)), ...(details.stdlib ? ["Python's standard library"] : [])].join(", ");
      data.lock(`${names}${details.only ? `, ${count(details.only.length)} chosen file${details.only.length === 1 ? "" : "s"}` : ""}`);
      parameters.show(details);
    } catch {
      shown = null;
    }
  }

  async function takeClone() {
    const text = sessionStorage.getItem("cllm-clone");
    if (!text) return;
    sessionStorage.removeItem("cllm-clone");
    const { settings, ...from } = JSON.parse(text);
    parameters.clone(settings);
    const missing = await data.clone(from);
    if (missing) toast(`Settings were taken over; ${missing}`, { kind: "bad" });
    else toast("Settings and data were taken over");
  }

  const onView = (event) => {
    if (event.detail.has("run")) follow();
    if (["run", "checkpoint", "step"].some((key) => event.detail.has(key))) actions.update();
  };
  live.addEventListener("view", onView);
  actions.update();
  follow();
  takeClone();
  return () => {
    live.removeEventListener("view", onView);
    data.destroy();
    parameters.destroy();
  };
}
