// Curves of runs as series of a chart: which figure, against what, in which unit.

import { clock, count } from "../format.js";

/** What x may be: key, button, axis, text of a value. */
export const X_AXES = [
  ["step", "Step", "step", count],
  ["epoch", "Epoch", "epoch", (value) => String(Number(value.toFixed(2)))],
  ["elapsed_s", "Time", "time", clock],
  ["tokens", "Tokens", "tokens seen", tokens],
];

/** What y may be. */
export const UNITS = [
  ["bits", "Bits/byte"],
  ["nats", "Nats/token"],
];

function tokens(value) {
  return value >= 1e6
    ? `${Number((value / 1e6).toPrecision(3))} M`
    : value >= 1e3
      ? `${Number((value / 1e3).toPrecision(3))} k`
      : String(value);
}

const scaleOf = (curve, unit) => (unit === "nats" ? 1 : (curve.bits_per_nat_token ?? ratioOf(curve)));

/** From a validation, where the server does not say it. */
function ratioOf({ validations }) {
  const one = validations.find((row) => row.loss > 0 && Number.isFinite(row.bits_per_byte));
  return one ? one.bits_per_byte / one.loss : null;
}

const xOf = (values, key, plan) =>
  key === "tokens" ? values.step.map((step) => step * (plan?.tokens_per_step ?? NaN)) : values[key];

/** Held-out losses: {x, y}, with the values that are known. */
export function validationSeries({ curve, view }, key, unit) {
  const rows = curve.validations;
  const columns = { step: [], epoch: [], elapsed_s: [] };
  for (const row of rows)
    for (const name of Object.keys(columns))
      columns[name].push(row[name] ?? (name === "elapsed_s" && row.step === 0 ? 0 : NaN));
  const y = rows.map((row) => (unit === "bits" ? row.bits_per_byte : row.loss));
  return known(xOf(columns, key, view?.plan), y);
}

/** Training losses: {x, y}; `smooth` averages exponentially over about 2 % of the points. */
export function trainingSeries({ curve, view }, key, unit, smooth) {
  const scale = scaleOf(curve, unit);
  if (scale === null) return { x: [], y: [] };
  const y = smooth ? smoothed(curve.steps.loss) : curve.steps.loss;
  return known(
    xOf(curve.steps, key, view?.plan),
    y.map((loss) => loss * scale),
  );
}

/** Another column of the steps, such as the learning rate. */
export const columnSeries = ({ curve, view }, name, key) =>
  known(xOf(curve.steps, key, view?.plan), curve.steps[name]);

function known(x, y) {
  const found = { x: [], y: [] };
  x.forEach((value, i) => {
    // A later session may begin its clock anew; a curve must not run backwards.
    if (!Number.isFinite(value) || !Number.isFinite(y[i]) || value < (found.x.at(-1) ?? -Infinity)) return;
    found.x.push(value);
    found.y.push(y[i]);
  });
  return found;
}

/** The mean with exponential weights to both sides, so that the curve neither lags nor leads. */
export function smoothed(values) {
  const keep = 1 - 1 / Math.max(1, Math.min(50, values.length / 100));
  const sums = new Float64Array(values.length);
  const weights = new Float64Array(values.length);
  const pass = (from, to, by, own) => {
    let [sum, weight] = [0, 0];
    for (let i = from; i !== to; i += by) {
      const isKnown = Number.isFinite(values[i]);
      sums[i] += keep * sum + (own && isKnown ? values[i] : 0);
      weights[i] += keep * weight + (own && isKnown ? 1 : 0);
      sum = keep * sum + (isKnown ? values[i] : 0);
      weight = keep * weight + (isKnown ? 1 : 0);
    }
  };
  pass(0, values.length, 1, true);
  pass(values.length - 1, -1, -1, false);
  return values.map((value, i) => (Number.isFinite(value) ? sums[i] / weights[i] : NaN));
}
