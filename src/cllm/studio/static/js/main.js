// The frame: loads the facts, routes between pages, shows the connection and the progress in the tab's title.

import { get } from "./api.js";
import { h, setAttr, setText } from "./dom.js";
import { Live } from "./live.js";
import { percent } from "./format.js";
import { usePalette } from "./palette.js";
import { bindTheme } from "./theme.js";
import benchmarks from "./pages/benchmarks.js";
import llm from "./pages/llm.js";
import runs from "./pages/runs.js";
import training from "./pages/training.js";

const ROUTES = [
  [/^\/(?:training)?$/, training, () => ({})],
  [/^\/llm$/, llm, () => ({})],
  [/^\/runs$/, runs, () => ({})],
  [/^\/runs\/([^/]+)$/, runs, ([, run]) => ({ run })],
  [/^\/compare$/, runs, () => ({ compare: (new URLSearchParams(location.search).get("runs") ?? "").split(",").filter(Boolean) })],
  [/^\/benchmarks$/, benchmarks, () => ({})],
  [/^\/benchmarks\/([^/]+)$/, benchmarks, ([, run]) => ({ run })],
];
const BUSY = ["preparing", "training", "stopping"];

const root = document.getElementById("page");
const live = new Live();
const context = { meta: null, live, navigate, params: {} };
let page = null;
let unmount = null;

/** Go to a path of the studio. */
function navigate(path, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", path);
  show();
}

function show() {
  if (!context.meta) return; // start() shows what was gone to meanwhile
  const path = decodeURI(location.pathname);
  const [pattern, found, params] = ROUTES.find(([route]) => route.test(path)) ?? [null, null, null];
  unmount?.();
  unmount = null;
  root.replaceChildren();
  page = found;
  if (!found) {
    root.append(h("div", { class: "empty" }, h("h2", {}, "There is no such page"), h("a", { href: "/training" }, "Go to the training")));
  } else {
    context.params = params(pattern.exec(path));
    unmount = found.mount(root, context);
  }
  for (const link of document.querySelectorAll(".bar .tabs a")) {
    const href = link.getAttribute("href");
    const current = path === href || path.startsWith(`${href}/`) || (path === "/" && href === "/training") || (path === "/compare" && href === "/runs");
    setAttr(link, "aria-current", current ? "page" : null);
  }
  scrollTo(0, 0);
  showTitle();
}

function showTitle() {
  const run = live.view?.run;
  const busy = run && BUSY.includes(run.state);
  const share = run?.state === "training" && live.view.step ? percent(live.view.step.progress) : run?.state;
  const title = `${busy ? `${share} · ` : ""}${page ? page.title : "Not found"} · CLLM`;
  setText(document.querySelector("title"), title);
}

function showConnection() {
  const chip = document.getElementById("connection");
  setText(chip, live.connected ? "" : "Connecting again…");
  setAttr(chip, "class", live.connected ? "chip" : "chip warn");
  if (live.connected) chip.replaceChildren();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.hasAttribute("download") || link.pathname.startsWith("/api/") || link.getAttribute("href").startsWith("#")) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
  root.focus({ preventScroll: true });
});
addEventListener("popstate", show);

async function start() {
  try {
    context.meta = await get("/api/meta");
  } catch (error) {
    root.append(h("div", { class: "empty" }, h("h2", {}, "The studio cannot be shown"), h("p", {}, error.message)));
    return;
  }
  usePalette(context.meta);
  bindTheme(document.getElementById("theme"), () => dispatchEvent(new Event("themechange")));
  live.addEventListener("connection", showConnection);
  live.addEventListener("view", showTitle);
  live.select(null);
  show();
}

start();
