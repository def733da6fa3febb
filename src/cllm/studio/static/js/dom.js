// Building and changing the page. Text only ever becomes text nodes; nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "value" && "value" in node) node.value = value;
    else if (name === "checked" || name === "disabled" || name === "selected") node[name] = Boolean(value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

/** An HTML element: `h("p", {class: "small", on: {click}}, "text", child)`. */
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);

/** An SVG element. */
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** Change an element's text, if it is another: the text node itself stays. */
export function setText(node, text) {
  const value = String(text);
  const first = node.firstChild;
  if (first === null) node.append(value);
  else if (first.nodeType === Node.TEXT_NODE && first === node.lastChild) {
    if (first.data !== value) first.data = value;
  } else node.textContent = value;
}

/** Change an attribute, if it is another; null removes it. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Show or hide. */
export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/** A note at the page's edge; `undo` adds a button that calls it. It stays for 6 s, or 12 s with a button. */
export function toast(text, { kind = "good", undo } = {}) {
  const note = h("div", { class: `toast ${kind}` }, h("span", {}, text));
  const leave = () => note.remove();
  if (undo) note.append(h("button", { class: "button small", type: "button", on: { click: () => { leave(); undo(); } } }, "Undo"));
  note.append(h("button", { class: "button quiet small", type: "button", "aria-label": "Close", on: { click: leave } }, "✕"));
  document.getElementById("toasts").append(note);
  setTimeout(leave, undo ? 12000 : 6000);
}

/** Ask. `actions`: [{label, value, kind}]; resolves to a value, or to null when the dialog was left. */
export function confirmDialog({ title, text, actions, cancel = "Cancel" }) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" });
    const button = (label, value, kind) =>
      h("button", { class: `button ${kind ?? ""}`, type: "button", on: { click: () => { answer = value; dialog.close(); } } }, label);
    let answer = null;
    dialog.append(h("h2", { id: "dialog-title" }, title), h("p", {}, text),
      h("div", { class: "row" }, button(cancel, null, ""), actions.map((a) => button(a.label, a.value, a.kind))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
    document.body.append(dialog);
    dialog.showModal();
  });
}
