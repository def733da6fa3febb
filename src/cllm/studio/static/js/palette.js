// The colours of activity, as the server declares them (cllm.report.palette): pictures and page agree.

let scale = null;

/** Take the levels from `/api/meta`. */
export function usePalette({ levels, red, red_from: redFrom }) {
  scale = { levels, red, redFrom };
}

/** All levels, ascending: {name, least, colour, ink}. */
export const levels = () => scale.levels;

/** The level of an activity; 1 is an even share. */
export const levelOf = (activity) => scale.levels.findLast((level) => activity >= level.least) ?? scale.levels[0];

/** The fill: the level's colour, and from orange to red within "very high". */
export function colourOf(activity) {
  const level = levelOf(activity);
  if (level !== scale.levels.at(-1)) return level.colour;
  const share = Math.min(1, Math.max(0, (activity - level.least) / (scale.redFrom - level.least)));
  const channel = (colour, i) => Number.parseInt(colour.slice(i, i + 2), 16);
  const mixed = [1, 3, 5].map((i) => Math.round(channel(level.colour, i) * (1 - share) + channel(scale.red, i) * share));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}
