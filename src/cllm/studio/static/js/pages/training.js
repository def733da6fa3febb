// The training page: choosing and starting at the left, what happens at the right.

import { h } from "../dom.js";
import { curvePanel } from "../curves/panel.js";
import { samplesPanel } from "../samples.js";
import { mountSetup } from "../setup.js";
import { progressPanel } from "../training/progress.js";
import { spheresPanel } from "../training/spheres.js";
import { statusLine } from "../training/status.js";
import { statisticsPanel } from "../training/table.js";
import { warningsLine } from "../training/warnings.js";

export default {
  title: "Training",
  mount(root, context) {
    const { live } = context;
    const setup = h("div", { class: "training-setup" });
    const status = statusLine();
    const progress = progressPanel(context.meta.cores);
    const spheres = spheresPanel();
    const statistics = statisticsPanel();
    const curves = curvePanel(() => live.view?.run?.id ?? null, { height: 300 });
    const samples = samplesPanel();
    const warnings = warningsLine();
    root.append(
      h("h1", { class: "visually-hidden" }, "Training"),
      h("div", { class: "training" }, setup,
        h("div", { class: "stack training-live" }, status.node, warnings.node, progress.node,
          h("div", { class: "training-pair" }, spheres.node, statistics.node), curves.node, samples.node)),
    );
    const leaveSetup = mountSetup(setup, context);

    const parts = [
      [status, ["run", "stage", "plan", "corpus"]],
      [progress, ["run", "stage", "step", "plan", "usage", "validation", "best", "checkpoint", "result"]],
      [spheres, ["run", "spheres", "step"]],
      [statistics, ["run", "spheres", "totals", "step"]],
    ];
    const draw = (changed) => {
      if (document.hidden) return; // all of it, when it is looked at again
      for (const [part, keys] of parts) {
        if (!changed || keys.some((key) => changed.has(key))) part.update(live.view);
      }
      if (!changed || changed.has("messages")) warnings.show(live.view?.messages ?? []);
    };
    const drawCurve = () => {
      if (document.hidden) return;
      curves.update(live);
      samples.show(live.curve);
    };
    const onView = (event) => draw(event.detail);
    const onVisible = () => {
      draw(null);
      drawCurve();
    };
    live.addEventListener("view", onView);
    live.addEventListener("curve", drawCurve);
    document.addEventListener("visibilitychange", onVisible);
    live.select(null);
    onVisible();
    return () => {
      live.removeEventListener("view", onView);
      live.removeEventListener("curve", drawCurve);
      document.removeEventListener("visibilitychange", onVisible);
      curves.destroy();
      leaveSetup();
    };
  },
};
