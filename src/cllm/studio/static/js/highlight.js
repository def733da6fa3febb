// Syntax colours, from Prism's tokens. Text only ever becomes text nodes.

import { h } from "./dom.js";

const MOST = 60_000; // characters; longer text stays plain

/** Spans of `text` in a language, or as plain text. */
export const highlight = (text, language) => highlightFrom(text, language, 0)[1];

/** `text` in `language` ("python", "c", "cpp", or null for plain text) as two fragments: before and after the character `at`; what spans it is split, so that its colour goes on. */
export function highlightFrom(text, language, at) {
  const parts = [document.createDocumentFragment(), document.createDocumentFragment()];
  let position = 0;
  const put = (part, piece, kind) => { if (piece) parts[part].append(kind ? h("span", { class: `tok-${kind}` }, piece) : piece); };
  for (const [piece, kind] of leaves(text, language)) {
    const before = Math.max(0, Math.min(piece.length, at - position));
    put(0, piece.slice(0, before), kind);
    put(1, piece.slice(before), kind);
    position += piece.length;
  }
  return parts;
}

/** The language of code without a name: "c", "python" or null. */
export function guess(text) {
  const c = (text.match(/[;{}]\s*$|^\s*#\s*(?:include|define|if|endif)|->|\/\*|^\s*(?:static|struct|int|void|char|unsigned)\s/gm) ?? []).length;
  const python = (text.match(/:\s*$|^\s*(?:def|class|import|from|elif|with|return|self)\b|"""/gm) ?? []).length;
  if (c === 0 && python === 0) return null;
  return c > python ? "c" : "python";
}

/** What would close the docstring in which the text ends: half-written code is what is shown here. */
function openQuotes(text) {
  let open = "";
  for (const [quotes] of text.matchAll(/"""|'''/g)) open = open === "" ? quotes : open === quotes ? "" : open;
  return open;
}

function leaves(text, language) {
  const grammar = language && globalThis.Prism?.languages?.[language];
  if (!grammar || text.length > MOST) return [[text, null]];
  const found = [];
  const visit = (token, kind) => {
    if (typeof token === "string") found.push([token, kind]);
    else if (Array.isArray(token)) for (const one of token) visit(one, kind);
    else visit(token.content, token.type.replaceAll(/[^a-z-]/g, ""));
  };
  const open = language === "python" ? openQuotes(text) : "";
  visit(globalThis.Prism.tokenize(text + open, grammar), null);
  if (open) found[found.length - 1] = [found.at(-1)[0].slice(0, -open.length), found.at(-1)[1]];
  return found;
}
