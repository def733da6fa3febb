// Verdicts of a report: yes, no or not known, always with the figure that they rest on.

import { h } from "../dom.js";

/** A sign with its word, `yes` or `no`; `kind` is the class of a "no": an error, or a mere caution. */
export function verdictMark({ passed }, yes = "yes", no = "no", kind = "bad") {
  const [sign, word, colour] =
    passed === null || passed === undefined
      ? ["–", "not known", "muted"]
      : passed
        ? ["✓", yes, "good"]
        : [kind === "warn" ? "!" : "✗", no, kind];
  return h(
    "span",
    { class: `verdict ${colour}` },
    h("span", { class: "verdict-sign", "aria-hidden": "true" }, sign),
    word,
  );
}

/** A table of verdicts. */
export function verdictTable(title, verdicts, yes, no, kind) {
  return h(
    "table",
    { class: "table compact verdicts" },
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        [title, "Verdict", "Figure"].map((head) => h("th", { scope: "col" }, head)),
      ),
    ),
    h(
      "tbody",
      {},
      verdicts.map((verdict) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, verdict.name),
          h("td", {}, verdictMark(verdict, yes, no, kind)),
          h("td", { class: "muted number" }, verdict.figure || "–"),
        ),
      ),
    ),
  );
}

/** "5 of 6" with what is not known left aside. */
export function score(verdicts) {
  const known = verdicts.filter(({ passed }) => passed !== null && passed !== undefined);
  return { passed: known.filter(({ passed }) => passed).length, known: known.length, all: verdicts.length };
}
