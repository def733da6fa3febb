// Light, dark, or as the system has it.

import { setAttr, setText } from "./dom.js";

const ORDER = ["auto", "light", "dark"];
const SIGNS = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" };

/** Make `button` switch the theme; calls `changed` after each switch, also when the system's changes. */
export function bindTheme(button, changed) {
  const root = document.documentElement;
  const show = () => {
    const theme = root.dataset.theme ?? "auto";
    setText(button, SIGNS[theme]);
    setAttr(button, "aria-label", `Theme: ${theme}. Switch`);
  };
  button.addEventListener("click", () => {
    const next = ORDER[(ORDER.indexOf(root.dataset.theme ?? "auto") + 1) % ORDER.length];
    if (next === "auto") delete root.dataset.theme;
    else root.dataset.theme = next;
    try { localStorage.setItem("cllm-theme", next); } catch { /* it holds until the page is left */ }
    show();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}

/** The present value of a design token, for canvases: `token("--line")`. */
export function token(name) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  probe.hidden = true;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
