// Text of documents as elements. Markdown's marks become emphasis, code and lists; nothing becomes a link or HTML.

import { h } from "./dom.js";

const INLINE = /(`+)(.+?)\1|\*\*(.+?)\*\*|__(.+?)__|!?\[([^\]]*)\]\([^)\s]*(?:\s+"[^"]*")?\)|(?<![\w*])\*(?!\s)([^*]+?)\*(?!\w)/gs;
const isMarkdown = (name) => /\.(md|markdown|mdx|ipynb|qmd)$/i.test(name);

/** Return text without Markdown's marks, in one line; with them where nothing else is there. */
export function plain(text, name) {
  let clean = text.replace(/^[ \t]*\|[ \t:|-]+$\n?/gm, "").replace(/^[ \t]*\|(.*?)\|?[ \t]*$/gm, (_row, cells) => `${cells.split(/(?<!\\)\|/).map((cell) => cell.trim()).filter(Boolean).join(" · ")};`);
  if (isMarkdown(name)) {
    clean = clean.replace(/^\s*(```|~~~).*$/gm, " ").replace(/^\s{0,3}#{1,6}\s+/gm, "").replace(/^\s*>\s?(\[!\w+\])?/gm, "").replace(/^\s*[-*+]\s+/gm, "• ");
    clean = clean.replace(INLINE, (_all, _ticks, code, bold, strong, link, soft) => code ?? bold ?? strong ?? link ?? soft ?? "");
  }
  return (clean.trim() || text).replace(/\s+/g, " ").trim();
}

function inline(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [all, , code, bold, strong, link, soft] = match;
    parts.push(text.slice(end, match.index));
    if (code !== undefined) parts.push(h("code", {}, code));
    else if (bold ?? strong) parts.push(h("strong", {}, bold ?? strong));
    else if (soft) parts.push(h("em", {}, soft));
    else parts.push(...inline(link ?? ""));
    end = match.index + all.length;
  }
  parts.push(text.slice(end));
  return parts;
}

/** Return the text of a passage as elements. */
export function prose(text, name) {
  if (!isMarkdown(name)) return [table(text) ?? h("p", {}, text)];
  const parts = [];
  const pieces = text.split(/^[ \t]*(?:```|~~~)[^\n]*$\n?/m); // odd ones are code
  pieces.forEach((piece, number) => {
    if (number % 2) {
      parts.push(h("pre", { tabindex: "0" }, h("code", {}, dedent(piece.replace(/\n$/, "")))));
      return;
    }
    for (const block of piece.split(/\n\s*\n/)) {
      if (!block.trim()) continue;
      const rows = table(block);
      if (rows) parts.push(rows);
      else parts.push(...lines(block));
    }
  });
  return parts;
}

function dedent(code) {
  const depth = Math.min(...code.split("\n").filter((line) => line.trim()).map((line) => /^ */.exec(line)[0].length));
  return Number.isFinite(depth) ? code.replace(new RegExp(`^ {${depth}}`, "gm"), "") : code;
}

/** Return a paragraph, with each line of a list on its own. */
function lines(block) {
  const parts = [];
  for (const line of block.replace(/^\n+|\s+$/g, "").split("\n")) {
    const head = /^\s{0,3}#{1,6}\s+(.*)$/.exec(line);
    const point = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/.exec(line);
    const words = line.replace(/^\s*>\s?(\[!(\w+)\])?/, (_all, _mark, kind) => (kind ? `${kind[0]}${kind.slice(1).toLowerCase()}` : ""));
    const last = parts.at(-1);
    if (head) parts.push(h("p", {}, h("strong", {}, inline(head[1]))));
    else if (point) parts.push(h("p", { class: "listed", style: { "--depth": Math.min(4, Math.floor(point[1].length / 2)) } }, h("span", { class: "bullet" }, /\d/.test(point[2]) ? point[2] : "•"), " ", inline(point[3])));
    else if (last && words.trim()) last.append(" ", ...inline(words.trim()));
    else if (words.trim()) parts.push(h("p", {}, inline(words.trim())));
  }
  return parts;
}

/** Return a table for text whose lines are rows of a Markdown table; null for other text. */
export function table(text) {
  const rows = text.trim().split("\n").map((line) => line.trim());
  if (rows.length < 2 || !rows.every((row) => row.startsWith("|")) || !/^\|[\s:|-]+\|?$/.test(rows[1])) return null;
  const cells = (row) => row.replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  return h("div", { class: "table", tabindex: "0" }, h("table", {},
    h("thead", {}, h("tr", {}, cells(rows[0]).map((cell) => h("th", { scope: "col" }, cell)))),
    h("tbody", {}, rows.slice(2).map((row) => h("tr", {}, cells(row).map((cell) => h("td", {}, cell)))))));
}

const LETTERS = /[\p{L}\p{N}]/u;

/** Mark a quote in an element. Only letters and digits are compared: spaces and marks differ between text and page. */
export function highlight(element, quote) {
  const places = [];
  let folded = "";
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    for (let at = 0; at < node.data.length; at += 1) {
      if (!LETTERS.test(node.data[at])) continue;
      folded += node.data[at];
      places.push([node, at]);
    }
  }
  const wanted = [...quote.replace(INLINE, (_all, _ticks, code, bold, strong, link, soft) => code ?? bold ?? strong ?? link ?? soft ?? "")].filter((letter) => LETTERS.test(letter)).join("");
  const start = wanted ? folded.indexOf(wanted) : -1;
  if (start < 0) return false;
  const spans = new Map();
  for (const [node, at] of places.slice(start, start + wanted.length)) {
    const span = spans.get(node) ?? [at, at];
    spans.set(node, [span[0], at]);
  }
  for (const [node, [first, last]] of spans) {
    const range = document.createRange();
    range.setStart(node, first);
    range.setEnd(node, /[.!?。！？]/.test(node.data[last + 1] ?? "") ? last + 2 : last + 1);
    range.surroundContents(h("mark"));
  }
  return true;
}

const wordsOf = (query) => [...new Set((query.match(/[\u3400-\u9fff]{2,}|[\p{L}\p{N}]{4,}/gu) ?? []).map((word) => word.toLocaleLowerCase()))];

/** Return the part of a passage that has the first of the query's words. */
export function excerpt(text, query, length = 340) {
  if (text.length <= length) return text;
  const folded = text.toLocaleLowerCase();
  const places = wordsOf(query).map((word) => folded.indexOf(word)).filter((at) => at >= 0).sort((a, b) => a - b);
  let start = places.length ? Math.max(0, places[0] - 80) : 0;
  if (start) start = text.indexOf(" ", start) + 1;
  const end = text.lastIndexOf(" ", start + length);
  const stop = end > start ? end : start + length;
  return `${start ? "… " : ""}${text.slice(start, stop)}${stop < text.length ? " …" : ""}`;
}

/** Return text in which the words of the query are marked, from the beginning of a word to its end. */
export function marked(text, query) {
  const words = wordsOf(query).map((word) => (/[\u3400-\u9fff]/.test(word) ? word : `(?<![\\p{L}\\p{N}])${word}\\p{L}*`));
  if (!words.length) return text;
  const word = `(?:${words.join("|")})`;
  return text.split(new RegExp(`(${word}(?:\\s+${word})*)`, "giu")).map((part, number) => (number % 2 ? h("mark", {}, part) : part));
}
