// The tree of files on the page: only the rows in view exist, and they are used again while one scrolls.

import { h, setAttr, setText } from "../dom.js";
import { bytes } from "../format.js";
import { windowOf } from "./files.js";

const ROW = 26; // px, as in setup.css

/** `show(tree)`, `refresh()` after ticks from elsewhere, `lock(on)`: it is only read; `changed()` is called after a tick
 * made here. */
export function treeView(changed) {
  const rows = h("div", { class: "tree-rows" });
  const node = h("div", {
    class: "tree", role: "tree", tabindex: "0", "aria-label": "Files", "aria-multiselectable": "true",
    on: { scroll: () => draw(), keydown: onKey, click: onClick },
  }, rows);
  const pool = [];
  let tree = null;
  let active = 0; // a row
  let locked = false;
  const watcher = new ResizeObserver(() => draw());
  watcher.observe(node);

  function draw() {
    const count = tree?.rows.length ?? 0;
    rows.style.height = `${count * ROW}px`;
    const { first, end } = windowOf(node.scrollTop, node.clientHeight, ROW, count);
    while (pool.length < end - first) {
      const row = makeRow(pool.length);
      pool.push(row);
      rows.append(row.node);
    }
    pool.forEach((row, i) => {
      const at = first + i;
      row.node.hidden = at >= end;
      if (at < end) fill(row, at);
    });
    setAttr(node, "aria-activedescendant", count ? pool.find((row) => row.at === active && !row.node.hidden)?.node.id : null);
  }

  function fill(row, at) {
    const index = tree.rows[at];
    const { name, depth, file } = tree.nodes[index];
    const state = tree.state(index);
    const [, , language, reason] = file >= 0 ? tree.files[file] : [];
    row.at = at;
    row.node.style.transform = `translateY(${at * ROW}px)`;
    row.indent.style.width = `${depth * 14}px`;
    setAttr(row.node, "class", `tree-row${state === null ? " left-out" : ""}${at === active ? " active" : ""}`);
    const { place, of } = tree.place(index);
    setAttr(row.node, "aria-level", depth + 1);
    setAttr(row.node, "aria-posinset", place);
    setAttr(row.node, "aria-setsize", of);
    setAttr(row.node, "aria-expanded", file < 0 ? String(tree.isOpen(index)) : null);
    setAttr(row.node, "aria-checked", state);
    setAttr(row.node, "aria-disabled", state === null ? "true" : null);
    setAttr(row.node, "title", reason ? `${name}: ${reason}` : null);
    setText(row.arrow, file < 0 ? (tree.isOpen(index) ? "▾" : "▸") : "");
    setAttr(row.tick, "class", `tick-box ${state ?? "none"}`);
    setText(row.name, file < 0 ? `${name}/` : name);
    setText(row.about, reason ?? language ?? "");
    setText(row.size, bytes(tree.bytes(index)));
  }

  function onClick(event) {
    const row = pool.find((one) => one.node.contains(event.target));
    if (!row) return;
    active = row.at;
    const index = tree.rows[row.at];
    if (tree.nodes[index].file < 0 && event.target !== row.tick) openOrClose(index, !tree.isOpen(index));
    else tick(index);
    draw();
  }

  function tick(index) {
    if (locked || tree.state(index) === null) return;
    tree.toggle(index);
    draw();
    changed();
  }

  function openOrClose(index, open) {
    tree.open(index, open);
    draw();
  }

  function onKey(event) {
    if (!tree?.rows.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(node.clientHeight / ROW) - 1);
    const index = tree.rows[active];
    const { parent } = tree.nodes[index];
    const isDirectory = tree.nodes[index].file < 0;
    const go = (to) => { active = Math.min(tree.rows.length - 1, Math.max(0, to)); };
    switch (event.key) {
      case "ArrowDown": go(active + 1); break;
      case "ArrowUp": go(active - 1); break;
      case "PageDown": go(active + page); break;
      case "PageUp": go(active - page); break;
      case "Home": go(0); break;
      case "End": go(tree.rows.length - 1); break;
      case "ArrowRight": if (isDirectory && !tree.open(index, true)) go(active + 1); break;
      case "ArrowLeft": if (!tree.open(index, false) && parent >= 0) go(tree.rows.indexOf(parent)); break;
      case " ": tick(index); break;
      case "Enter": if (isDirectory) tree.open(index, !tree.isOpen(index)); else tick(index); break;
      default: return;
    }
    event.preventDefault();
    const top = active * ROW;
    if (top < node.scrollTop) node.scrollTop = top;
    else if (top + ROW > node.scrollTop + node.clientHeight) node.scrollTop = top + ROW - node.clientHeight;
    draw();
  }

  return {
    node,
    show(next) {
      tree = next;
      active = 0;
      node.scrollTop = 0;
      draw();
    },
    refresh() {
      active = Math.min(active, Math.max(0, (tree?.rows.length ?? 1) - 1));
      draw();
    },
    lock(on) {
      locked = on;
      setAttr(node, "aria-disabled", on ? "true" : null);
      setAttr(node, "class", on ? "tree locked" : "tree");
    },
    destroy: () => watcher.disconnect(),
  };
}

function makeRow(number) {
  const row = {
    at: -1,
    indent: h("span", { class: "tree-indent" }),
    arrow: h("span", { class: "tree-arrow", "aria-hidden": "true" }),
    tick: h("span", { class: "tick-box", "aria-hidden": "true" }),
    name: h("span", { class: "tree-name" }),
    about: h("span", { class: "tree-about" }),
    size: h("span", { class: "tree-size number" }),
  };
  row.node = h("div", { class: "tree-row", role: "treeitem", id: `tree-row-${number}` },
    row.indent, row.arrow, row.tick, row.name, row.about, row.size);
  return row;
}
