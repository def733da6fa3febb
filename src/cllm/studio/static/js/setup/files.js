// A scanned directory as a tree with ticks, in flat arrays: 20,000 files are scanned, filtered and ticked in milliseconds.

/** Files: [path, bytes, language, reason | null, is prepared data]; as `/api/scan` answers. */
export class FileTree {
  constructor({ root, files }) {
    this.root = root;
    this.files = files;
    this.ticked = new Uint8Array(files.length); // nothing, until a person chooses
    this._matches = new Uint8Array(files.length).fill(1);
    this._filtered = false;
    this._layOut();
    this._open = new Uint8Array(this.nodes.length);
    for (let i = 0; i < this.nodes.length; i += 1) this._open[i] = this.nodes[i].depth === 0 ? 1 : 0;
    this._count();
    this._list();
  }

  /** Nodes in display order, directories before files: {name, depth, parent, end, file}; `file` is -1 for a directory. */
  _layOut() {
    const top = { directories: new Map(), files: [] };
    this.files.forEach(([path], i) => {
      const parts = path.split("/");
      let at = top;
      for (const part of parts.slice(0, -1)) {
        if (!at.directories.has(part)) at.directories.set(part, { directories: new Map(), files: [] });
        at = at.directories.get(part);
      }
      at.files.push([parts.at(-1), i]);
    });
    this.nodes = [];
    const visit = (directory, depth, parent) => {
      for (const [name, inside] of [...directory.directories].sort(byName)) {
        const index = this.nodes.push({ name, depth, parent, end: 0, file: -1 }) - 1;
        visit(inside, depth + 1, index);
        this.nodes[index].end = this.nodes.length;
      }
      for (const [name, file] of directory.files.sort(byName)) {
        this.nodes.push({ name, depth, parent, end: this.nodes.length + 1, file });
      }
    };
    visit(top, 0, -1);
  }

  /** What each directory holds: matching files, those that can be ticked, those that are; and their bytes. */
  _count() {
    const zero = () => new Float64Array(this.nodes.length);
    this._shown = zero();
    this._able = zero();
    this._on = zero();
    this._bytes = zero();
    this._place = new Int32Array(this.nodes.length);
    this._siblings = new Int32Array(this.nodes.length + 1); // of the top level at the end
    for (let i = this.nodes.length - 1; i >= 0; i -= 1) {
      const { file, parent } = this.nodes[i];
      if (file >= 0) {
        this._shown[i] = this._matches[file];
        this._able[i] = this._matches[file] && this.files[file][3] === null ? 1 : 0;
        this._on[i] = this._able[i] && this.ticked[file];
        this._bytes[i] = this._matches[file] ? this.files[file][1] : 0;
      }
      if (parent >= 0) for (const sums of [this._shown, this._able, this._on, this._bytes]) sums[parent] += sums[i];
    }
    for (let i = 0; i < this.nodes.length; i += 1) {
      if (this._shown[i]) this._place[i] = this._siblings[this._parent(i)] += 1;
    }
  }

  /** The numbers of the nodes that are to be seen: `rows`. */
  _list() {
    this.rows = [];
    for (let i = 0; i < this.nodes.length; ) {
      const node = this.nodes[i];
      if (this._shown[i] === 0) i = node.end;
      else {
        this.rows.push(i);
        i = node.file < 0 && !this.isOpen(i) ? node.end : i + 1;
      }
    }
  }

  _parent(node) {
    const { parent } = this.nodes[node];
    return parent < 0 ? this.nodes.length : parent;
  }

  /** Where it stands among what its directory shows: {place, of}, from 1. */
  place(node) {
    return { place: this._place[node], of: this._siblings[this._parent(node)] };
  }

  isOpen(node) {
    return this._filtered || this._open[node] === 1;
  }

  /** "true", "false" or "mixed"; null if nothing in it can be ticked. */
  state(node) {
    if (this._able[node] === 0) return null;
    return this._on[node] === 0 ? "false" : this._on[node] === this._able[node] ? "true" : "mixed";
  }

  /** Matching bytes of a directory, or the size of a file. */
  bytes(node) {
    return this._bytes[node];
  }

  /** Open or close a directory; true if that changed anything. While a filter holds, all are open. */
  open(node, open) {
    if (this.nodes[node].file >= 0 || this._filtered || this.isOpen(node) === open) return false;
    this._open[node] = open ? 1 : 0;
    this._list();
    return true;
  }

  /** Tick or untick a file, or all matching files of a directory. */
  toggle(node) {
    const on = this.state(node) === "true" ? 0 : 1;
    for (let i = node; i < this.nodes[node].end; i += 1) this._tick(this.nodes[i].file, on);
    this._count();
  }

  /** Tick or untick everything that matches. */
  all(on) {
    for (let file = 0; file < this.files.length; file += 1) this._tick(file, on ? 1 : 0);
    this._count();
  }

  _tick(file, on) {
    if (file >= 0 && this._matches[file] && this.files[file][3] === null) this.ticked[file] = on;
  }

  /** Show only files whose path contains `text` (any case) and whose extension is one of the set, if it has any. */
  filter(text, extensions) {
    const wanted = text.trim().toLowerCase();
    this._filtered = wanted !== "" || extensions.size > 0;
    this.files.forEach(([path], i) => {
      const fits = (wanted === "" || path.toLowerCase().includes(wanted)) && (extensions.size === 0 || extensions.has(extension(path)));
      this._matches[i] = fits ? 1 : 0;
    });
    this._count();
    this._list();
  }

  /** Tick exactly these paths. */
  choose(paths) {
    const wanted = new Set(paths);
    this.files.forEach(([path, , , reason], i) => { this.ticked[i] = reason === null && wanted.has(path) ? 1 : 0; });
    this._count();
  }

  /** Extensions of the files that can be ticked: [[extension, number]], most frequent first. */
  extensions() {
    const found = new Map();
    for (const [path, , , reason] of this.files) {
      if (reason === null) found.set(extension(path), (found.get(extension(path)) ?? 0) + 1);
    }
    return [...found].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  }

  /** Over all files, whatever the filter shows: {ticked, able, leftOut, bytes}. */
  totals() {
    let [ticked, able, bytes] = [0, 0, 0];
    this.files.forEach(([, size, , reason], i) => {
      if (reason === null) able += 1;
      if (this.ticked[i]) { ticked += 1; bytes += size; }
    });
    return { ticked, able, leftOut: this.files.length - able, bytes };
  }

  /** What `/api/train` wants: {root, files, prepared}; files null where all are ticked. */
  request() {
    const chosen = this.files.filter((_, i) => this.ticked[i]);
    const prepared = chosen.filter((file) => file[4]).map((file) => file[0]);
    const files = chosen.filter((file) => !file[4]).map((file) => file[0]);
    const all = chosen.length > 0 && this.totals().able === chosen.length && prepared.length === 0;
    return { root: this.root, files: all ? null : files, prepared };
  }
}

/** Tick in a scanned directory what a run was trained on: {paths, only}; returns how much of it is not there. */
export function chooseAsRun(tree, { paths, only }) {
  const inside = paths.filter((path) => path.startsWith(`${tree.root}/`)).map((path) => path.slice(tree.root.length + 1));
  const wanted = new Set(inside); // files that were named one by one, as prepared data is
  if (paths.includes(tree.root)) {
    for (const path of only ?? tree.files.filter((file) => !file[4]).map((file) => file[0])) wanted.add(path);
  }
  const able = new Set(tree.files.filter((file) => file[3] === null).map((file) => file[0]));
  tree.choose(wanted);
  const named = [...inside, ...(only ?? [])];
  const elsewhere = paths.filter((path) => path !== tree.root && !path.startsWith(`${tree.root}/`));
  return named.filter((path) => !able.has(path)).length + elsewhere.length;
}

const byName = ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0);

/** ".py"; the name itself for files without one, such as Makefile. */
export function extension(path) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  return dot > 0 ? name.slice(dot).toLowerCase() : name;
}

/** Which rows of `height` px are in view: {first, end}, with some to spare. */
export function windowOf(scrollTop, viewHeight, height, rows, spare = 6) {
  const first = Math.max(0, Math.floor(scrollTop / height) - spare);
  return { first, end: Math.min(rows, Math.ceil((scrollTop + viewHeight) / height) + spare) };
}
