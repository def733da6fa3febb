// The training page: choosing and starting at the left, what happens at the right.

import { h } from "../dom.js";
import { curvePanel } from "../curves/panel.js";
import { showMessages } from "../messages.js";
import { samplesPanel } from "../samples.js";
import { mountSetup } from "../setup.js";
import { progressPanel, statusPanel } from "../training/progress.js";
import { spheresPanel } from "../training/spheres.js";
import { statisticsPanel } from "../training/table.js";
import { stateChip } from "../words.js";

export default {
  title: "Training",
  mount(root, context) {
    const { live } = context;
    const setup = h("div", { class: "training-setup" });
    const status = statusPanel(stateChip);
    const progress = progressPanel();
    const spheres = spheresPanel();
    const statistics = statisticsPanel();
    const curves = curvePanel(() => live.view?.run?.id ?? null, { height: 300 });
    const samples = samplesPanel();
    const messages = h("section", { class: "panel", hidden: true, "aria-label": "Messages" });
    root.append(
      h("h1", { class: "visually-hidden" }, "Training"),
      h("div", { class: "training" }, setup,
        h("div", { class: "stack training-live" }, status.node, messages, progress.node,
          h("div", { class: "training-pair" }, spheres.node, statistics.node), curves.node, samples.node)),
    );
    const leaveSetup = mountSetup(setup, context);

    const parts = [
      [status, ["run", "stage", "step"]],
      [progress, ["run", "step", "plan", "usage", "validation", "best", "checkpoint"]],
      [spheres, ["run", "spheres", "step"]],
      [statistics, ["run", "spheres", "totals", "step"]],
    ];
    const draw = (changed) => {
      for (const [part, keys] of parts) if (!changed || keys.some((key) => changed.has(key))) part.update(live.view);
      if (!changed || changed.has("messages")) showMessages(messages, live.view?.messages ?? []);
    };
    const drawCurve = () => {
      curves.update(live);
      samples.show(live.curve.samples);
    };
    const onView = (event) => draw(event.detail);
    live.addEventListener("view", onView);
    live.addEventListener("curve", drawCurve);
    live.select(null);
    draw(null);
    drawCurve();
    return () => {
      live.removeEventListener("view", onView);
      live.removeEventListener("curve", drawCurve);
      curves.destroy();
      leaveSetup();
    };
  },
};
