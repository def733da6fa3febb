// What one chooses for any chart of losses; the choice holds on all pages.

import { segments, toggle } from "../segments.js";
import { UNITS, X_AXES } from "./series.js";

/** The controls {axis, unit, log}, each {node, value()}; `axis.chosen()` is the entry of `X_AXES`. */
export function chartChoices(redraw) {
  const names = X_AXES.map(([key, text]) => [key, text]);
  const axis = segments("Horizontal axis", names, "step", redraw, "cllm-runs-x");
  return {
    axis: { ...axis, chosen: () => X_AXES.find(([key]) => key === axis.value()) },
    unit: segments("Unit of the loss", UNITS, "bits", redraw, "cllm-runs-unit"),
    log: toggle("Log scale", false, redraw, "cllm-runs-log"),
  };
}
