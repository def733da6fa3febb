// Tables of a report: its epochs, its spheres, and what went wrong.

import { h } from "../dom.js";
import { count, duration, number } from "../format.js";
import { messageList } from "../messages.js";
import { colourOf, levelOf } from "../palette.js";

const time = (value) => (value === null || value === undefined ? "–" : duration(value));

/** A titled panel; `end` stands at the right of its head. */
export const panel = (title, content, end = null) =>
  h(
    "section",
    { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, title), end && h("span", { class: "spacer" }), end),
    content,
  );

export function timeline({ epochs, losses }) {
  if (!epochs.length) return null;
  const most = Math.max(...epochs.map((one) => one.mean_loss));
  const rows = epochs.map((one) => {
    const bar = h("span", { class: "bar-fill" });
    bar.style.width = `${(100 * one.mean_loss) / most}%`;
    const isBest =
      one.held_out_nats_per_token !== null &&
      one.held_out_nats_per_token === losses.best_held_out_nats_per_token;
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, one.epoch),
      h("td", { class: "right" }, time(one.seconds)),
      h("td", { class: "right" }, count(one.steps)),
      h("td", { class: "right" }, `${number(one.first_loss, 2)} → ${number(one.last_loss, 2)}`),
      h(
        "td",
        {},
        h(
          "span",
          { class: "bar-line" },
          h("span", { class: "bar-track", "aria-hidden": "true" }, bar),
          number(one.mean_loss, 3),
        ),
      ),
      h("td", { class: "right" }, number(one.held_out_nats_per_token, 3)),
      h(
        "td",
        { class: "right" },
        number(one.held_out_bits_per_byte, 4),
        isBest && h("span", { class: "best-mark" }, "best"),
      ),
    );
  });
  const heads = [
    ["Epoch", ""],
    ["Time", "right"],
    ["Steps", "right"],
    ["Loss", "right"],
    ["Mean loss", ""],
    ["Held out, nats/token", "right"],
    ["Held out, bits/byte", "right"],
  ];
  return panel(
    "Timeline",
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "table compact timeline" },
        h("caption", { class: "visually-hidden" }, "Epochs"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            heads.map(([head, kind]) => h("th", { scope: "col", class: kind }, head)),
          ),
        ),
        h("tbody", {}, rows),
      ),
    ),
  );
}

export function eachSphere({ spheres }) {
  if (!spheres.each.length) return null;
  const rows = spheres.each.map((one) => {
    const dot = h("span", { class: "dot", "aria-hidden": "true" });
    dot.style.background = colourOf(one.activity);
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, one.sphere),
      h("td", { class: "right" }, count(one.microbatches)),
      h("td", { class: "right" }, count(one.tokens)),
      h("td", { class: "right" }, number(one.loss, 3)),
      h(
        "td",
        {},
        h("span", { class: "activity" }, dot, `${number(one.activity, 2)} · ${levelOf(one.activity).name}`),
      ),
    );
  });
  return panel(
    "Batches of each sphere",
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "table compact" },
        h("caption", { class: "visually-hidden" }, "Batches of each sphere"),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", { scope: "col" }, "Sphere"),
            ["Batches", "Tokens", "Average loss"].map((head) =>
              h("th", { scope: "col", class: "right" }, head),
            ),
            h("th", { scope: "col" }, "Activity, 1 is an even share"),
          ),
        ),
        h("tbody", {}, rows),
      ),
    ),
  );
}

export const issues = ({ issues: found }) => (found.length ? panel("Issues encountered", messageList(found)) : null);
