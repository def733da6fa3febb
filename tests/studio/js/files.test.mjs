// The tree of scanned files, its selection, its filter and its window: no page is needed for them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseAsRun, FileTree, extension, windowOf } from "../../../src/cllm/studio/static/js/setup/files.js";

const file = (path, { size = 100, language = "c", reason = null, prepared = false } = {}) => [path, size, language, reason, prepared];

const small = () =>
  new FileTree({
    root: "/data",
    files: [
      file("Makefile", { size: 1, language: "make" }),
      file("src/a.c", { size: 10 }),
      file("src/b.h", { size: 20 }),
      file("src/deep/c.c", { size: 40 }),
      file("src/deep/logo.png", { size: 5000, language: "", reason: "binary" }),
      file("vendor/x.c", { size: 80, reason: "vendored" }),
      file("zebra.py", { size: 160, language: "python" }),
    ],
  });

const shown = (tree) => tree.rows.map((node) => `${"  ".repeat(tree.nodes[node].depth)}${tree.nodes[node].name}`);
const nodeOf = (tree, name) => tree.nodes.findIndex((node) => node.name === name);
const tickedPaths = (tree) => tree.files.filter((_, i) => tree.ticked[i]).map(([path]) => path);

test("nothing is ticked until a person chooses", () => {
  const tree = small();
  assert.deepEqual(tree.totals(), { ticked: 0, able: 5, leftOut: 2, bytes: 0 });
  assert.equal(tree.state(nodeOf(tree, "src")), "false");
});

test("directories come first, each sorted, the top ones open", () => {
  assert.deepEqual(shown(small()), ["src", "  deep", "  a.c", "  b.h", "vendor", "  x.c", "Makefile", "zebra.py"]);
});

test("a closed directory hides what is in it, and an open one shows it", () => {
  const tree = small();
  tree.open(nodeOf(tree, "deep"), true);
  assert.deepEqual(shown(tree).slice(0, 4), ["src", "  deep", "    c.c", "    logo.png"]);
  tree.open(nodeOf(tree, "src"), false);
  assert.deepEqual(shown(tree), ["src", "vendor", "  x.c", "Makefile", "zebra.py"]);
});

test("a directory is ticked, half ticked or not, as its files are", () => {
  const tree = small();
  tree.toggle(nodeOf(tree, "c.c"));
  assert.deepEqual(["deep", "src"].map((name) => tree.state(nodeOf(tree, name))), ["true", "mixed"]);
  tree.toggle(nodeOf(tree, "src")); // from half to all
  assert.deepEqual(tickedPaths(tree), ["src/a.c", "src/b.h", "src/deep/c.c"]);
  assert.equal(tree.state(nodeOf(tree, "src")), "true");
  tree.toggle(nodeOf(tree, "src"));
  assert.deepEqual(tickedPaths(tree), []);
});

test("what would be left out cannot be ticked, by no way", () => {
  const tree = small();
  tree.all(true);
  tree.toggle(nodeOf(tree, "x.c"));
  tree.toggle(nodeOf(tree, "vendor"));
  assert.equal(tree.state(nodeOf(tree, "x.c")), null);
  assert.equal(tree.state(nodeOf(tree, "vendor")), null);
  tree.choose(tree.files.map(([path]) => path));
  assert.deepEqual(tree.totals(), { ticked: 5, able: 5, leftOut: 2, bytes: 231 });
});

test("a filter narrows what is shown and what Select All reaches, and loses no tick", () => {
  const tree = small();
  tree.toggle(nodeOf(tree, "zebra.py"));
  tree.filter("DEEP/", new Set());
  assert.deepEqual(shown(tree), ["src", "  deep", "    c.c", "    logo.png"]);
  tree.all(true);
  assert.deepEqual(tickedPaths(tree), ["src/deep/c.c", "zebra.py"]);
  tree.filter("", new Set([".h"]));
  assert.deepEqual(shown(tree), ["src", "  b.h"]);
  assert.equal(tree.bytes(nodeOf(tree, "src")), 20);
  tree.filter("", new Set());
  assert.deepEqual(tickedPaths(tree), ["src/deep/c.c", "zebra.py"]);
  assert.equal(shown(tree).length, 8, "directories are as open as they were");
});

test("a filter minds no letter's case, neither in the path nor in what is typed", () => {
  const tree = small();
  tree.filter(" makeFILE ", new Set());
  assert.deepEqual(shown(tree), ["Makefile"]);
});

test("a filter that nothing fits shows nothing", () => {
  const tree = small();
  tree.filter("nowhere", new Set([".c"]));
  assert.deepEqual(tree.rows, []);
});

test("extensions are counted where they can be ticked", () => {
  assert.deepEqual(small().extensions(), [[".c", 2], [".h", 1], [".py", 1], ["Makefile", 1]]);
  assert.deepEqual(["a/b.tar.GZ", ".bashrc", "x/Makefile"].map(extension), [".gz", ".bashrc", "Makefile"]);
});

test("where no file can be used, all of them are none", () => {
  const tree = new FileTree({ root: "/data", files: [["a.bin", 3, null, "binary"]] });
  tree.all(true);
  assert.deepEqual(tree.request().files, []);
});

test("a request names the chosen files, or none where all are", () => {
  const tree = small();
  tree.toggle(nodeOf(tree, "a.c"));
  assert.deepEqual(tree.request(), { root: "/data", files: ["src/a.c"], prepared: [] });
  tree.all(true);
  assert.deepEqual(tree.request(), { root: "/data", files: null, prepared: [] });
});

test("prepared data is named by itself, and then so are the files", () => {
  const files = [file("a.py"), file("repo_code.txt", { language: "prepared", prepared: true })];
  const tree = new FileTree({ root: "/data", files });
  tree.toggle(nodeOf(tree, "a.py"));
  assert.deepEqual(tree.request().files, ["a.py"], "not all: the prepared data is not ticked");
  tree.all(true);
  assert.deepEqual(tree.request(), { root: "/data", files: ["a.py"], prepared: ["repo_code.txt"] });
});

test("each row knows its place among what its directory shows", () => {
  const tree = small();
  const placeOf = (name) => tree.place(nodeOf(tree, name));
  assert.deepEqual(placeOf("src"), { place: 1, of: 4 });
  assert.deepEqual(placeOf("zebra.py"), { place: 4, of: 4 });
  assert.deepEqual(placeOf("b.h"), { place: 3, of: 3 });
  tree.filter(".py", new Set());
  assert.deepEqual(placeOf("zebra.py"), { place: 1, of: 1 });
});

test("opening says whether it changed anything, so that the arrow keys can go on instead", () => {
  const tree = small();
  const deep = nodeOf(tree, "deep");
  assert.deepEqual([tree.open(deep, false), tree.open(deep, true), tree.open(deep, true)], [false, true, false]);
  assert.equal(tree.open(nodeOf(tree, "a.c"), true), false);
  tree.filter("c.c", new Set());
  assert.equal(tree.open(deep, false), false, "a filter keeps all open");
});

test("a run's data is ticked again: all of it, or the files that were chosen", () => {
  const tree = small();
  assert.equal(chooseAsRun(tree, { paths: ["/data"], only: null }), 0);
  assert.equal(tree.totals().ticked, 5);
  assert.equal(chooseAsRun(tree, { paths: ["/data"], only: ["src/a.c", "zebra.py"] }), 0);
  assert.deepEqual(tickedPaths(tree), ["src/a.c", "zebra.py"]);
});

test("what a run used and is not there any more is counted, never replaced", () => {
  const tree = small();
  assert.equal(chooseAsRun(tree, { paths: ["/data"], only: ["src/a.c", "gone.c", "vendor/x.c"] }), 2);
  assert.deepEqual(tickedPaths(tree), ["src/a.c"]);
  assert.equal(chooseAsRun(tree, { paths: ["/elsewhere", "/data-2", "/data"], only: null }), 2);
  assert.equal(chooseAsRun(tree, { paths: ["/elsewhere"], only: null }), 1);
  assert.deepEqual(tickedPaths(tree), []);
});

test("a run on prepared data alone ticks that alone, and one on files beside it does not tick it", () => {
  const files = [file("a.py"), file("repo_code.txt", { language: "prepared", prepared: true })];
  const tree = new FileTree({ root: "/data", files });
  assert.equal(chooseAsRun(tree, { paths: ["/data/repo_code.txt"], only: null }), 0);
  assert.deepEqual(tickedPaths(tree), ["repo_code.txt"]);
  assert.equal(chooseAsRun(tree, { paths: ["/data"], only: null }), 0);
  assert.deepEqual(tickedPaths(tree), ["a.py"]);
  assert.equal(chooseAsRun(tree, { paths: ["/data/repo_code.txt", "/data"], only: ["a.py"] }), 0);
  assert.deepEqual(tickedPaths(tree), ["a.py", "repo_code.txt"]);
});

test("the window is what is in view with some to spare, within the rows", () => {
  assert.deepEqual(windowOf(0, 260, 26, 20_000), { first: 0, end: 16 });
  assert.deepEqual(windowOf(26 * 5000, 260, 26, 20_000), { first: 4994, end: 5016 });
  assert.deepEqual(windowOf(26 * 19_995, 260, 26, 20_000), { first: 19_989, end: 20_000 });
  assert.deepEqual(windowOf(0, 260, 26, 0), { first: 0, end: 0 });
});

test("20,000 files: each act of a person takes less than 50 ms", () => {
  const files = [];
  for (let i = 0; i < 20_000; i += 1) {
    files.push(file(`module_${i % 100}/part_${i % 7}/file_${i}.${["c", "h", "py"][i % 3]}`, { size: i }));
  }
  const tree = new FileTree({ root: "/data", files });
  const acts = {
    "Select All": () => tree.all(true),
    "untick a directory": () => tree.toggle(nodeOf(tree, "module_3")),
    "close a directory": () => tree.open(nodeOf(tree, "module_5"), false),
    "filter by name": () => tree.filter("part_3/file_1", new Set()),
    "filter by extension": () => tree.filter("", new Set([".c"])),
    "sum up": () => tree.totals(),
    "make the request": () => tree.request(),
  };
  for (const [name, act] of Object.entries(acts)) {
    const times = [1, 2, 3].map(() => {
      const begun = performance.now();
      act();
      return performance.now() - begun;
    });
    assert.ok(Math.min(...times) < 50, `${name}: ${Math.min(...times).toFixed(1)} ms`);
  }
});
