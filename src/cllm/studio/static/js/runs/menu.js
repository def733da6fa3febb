// A menu under a button: arrow keys, Home, End; Escape or a click elsewhere closes it.

import { h } from "../dom.js";

/** Open below `button`. `items`: [{label, act, disabled: reason or "", kind}]. */
export function openMenu(button, label, items) {
  const entry = ({ label: text, act, disabled, kind }) =>
    h(
      "button",
      {
        class: `menu-item ${kind ?? ""}`,
        type: "button",
        role: "menuitem",
        tabindex: "-1",
        "aria-disabled": disabled ? "true" : null,
        title: disabled || null,
        on: {
          click: () => {
            if (!disabled) {
              button.focus();
              menu.hidePopover();
              act();
            }
          },
        },
      },
      text,
    );
  const entries = items.map(entry);
  const menu = h("div", { class: "menu", role: "menu", popover: "auto", "aria-label": label }, entries);

  const move = (to) => entries[(to + entries.length) % entries.length].focus();
  menu.addEventListener("keydown", (event) => {
    const at = entries.indexOf(document.activeElement);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 };
    if (event.key in steps) move(steps[event.key]);
    else if (event.key === "Tab") menu.hidePopover();
    else return;
    if (event.key !== "Tab") event.preventDefault();
  });
  const close = () => menu.hidePopover();
  menu.addEventListener("toggle", (event) => {
    if (event.newState !== "closed") return;
    removeEventListener("scroll", close, true);
    const within = menu.contains(document.activeElement) || document.activeElement === document.body;
    menu.remove();
    button.setAttribute("aria-expanded", "false");
    if (within) button.focus();
  });

  document.body.append(menu);
  menu.showPopover();
  button.setAttribute("aria-expanded", "true");
  const at = button.getBoundingClientRect();
  const own = menu.getBoundingClientRect();
  const below = at.bottom + 4 + own.height <= innerHeight;
  menu.style.top = `${below ? at.bottom + 4 : Math.max(4, at.top - own.height - 4)}px`;
  menu.style.left = `${Math.max(4, at.right - own.width)}px`;
  move(0);
  addEventListener("scroll", close, true);
}
