// An answer while it is written: its evidence is there first, and each sentence has markers that lead to its sources.

import * as api from "./api.js";
import { fill, h, icon, iconButton, say, tell } from "./dom.js";
import { beside, confidenceMark, errorCard, lazyPicture, sourceLine } from "./parts.js";
import { plain } from "./prose.js";
import { go } from "./state.js";
import { confidence, n, place, t, trouble } from "./words.js";

const cited = new Map(); // what answers cited, by the id of the item: the viewer highlights the quote

export const quoteOf = (id) => cited.get(id)?.quote ?? null;
export const citedHit = (id) => cited.get(id)?.item ?? null;

export class Answer {
  constructor(parent, question, stop, retry) {
    Object.assign(this, { parent, question, stop, retry, blocks: [], notes: [], citations: [], evidence: [], done: null });
    this.state = h("p", { class: "answer-state" }, h("span", { class: "pulse", "aria-hidden": "true" }), t("Looking for sources …"));
    this.text = h("div", { class: "answer-text" });
    this.foot = h("div", { class: "answer-foot" });
    this.tools = h("div", { class: "answer-tools" }, h("button", { type: "button", class: "button", onclick: stop }, icon("stop"), t("Stop")));
    this.element = h("section", { class: "answer", "aria-label": t("Answer"), "aria-busy": "true" }, this.state, this.text, this.foot, this.tools);
    fill(parent, this.element);
  }

  remove() {
    this.element.remove();
  }

  take(event, data) {
    if (event === "evidence") {
      this.evidence = data.hits;
      fill(this.state, h("span", { class: "pulse", "aria-hidden": "true" }), n("Reading {n} source …", "Reading {n} sources …", data.hits.length));
    } else if (event === "block") {
      this.blocks.push(data);
      this.draw();
    } else if (event === "restart") {
      this.blocks = [];
      this.notes.push(data.text);
      this.draw();
    } else if (event === "note") {
      this.notes.push(data.text);
      this.draw();
    } else if (event === "answer") {
      this.done = data;
      Object.assign(this, { blocks: data.blocks, citations: data.citations, notes: data.notes });
      for (const citation of data.citations) cited.set(citation.item.id, citation);
    } else if (event === "error") {
      this.finish();
      fill(this.text, errorCard(Object.assign(new Error(data.detail), { status: data.status, slug: (data.type || data.slug || "").split(":").pop() }), this.retry));
      fill(this.tools);
      fill(this.state);
      this.failed = true;
    }
  }

  end() {
    if (this.failed) return;
    if (!this.done) return this.stopped();
    this.finish();
    if (this.done.abstained) this.abstained();
    else this.draw();
    fill(this.tools, this.retryButton(),
      !this.done.abstained && h("button", { type: "button", class: "button", onclick: () => this.export() }, icon("save"), t("Save with pictures")));
    say(this.done.abstained ? t("No answer: the sources do not say") : t("The answer is complete"));
  }

  stopped() {
    this.finish();
    fill(this.state, t("Stopped."));
    fill(this.tools, this.retryButton());
  }

  retryButton() {
    return h("button", { type: "button", class: "button", onclick: this.retry }, icon("retry"), t("Ask again"));
  }

  finish() {
    this.element.setAttribute("aria-busy", "false");
    fill(this.state);
  }

  abstained() {
    this.element.classList.add("abstained");
    fill(this.text, h("div", { class: "abstention" }, icon("warn"),
      h("div", {}, h("h2", {}, t("The sources do not answer this")), h("p", {}, this.done.reason ?? ""),
        h("p", { class: "quiet" }, this.evidence.length ? t("What comes nearest is shown all the same: judge for yourself.") : t("Nothing comes near.")))));
    this.drawNotes();
  }

  draw() {
    fill(this.text, this.render((citation) => this.marker(citation)));
    if (this.done) {
      const weak = this.blocks.some((block) => block.support === "weak" || block.support === "unsupported") || this.done.confidence < 0.4;
      this.element.classList.toggle("weak", weak);
      fill(this.foot,
        weak && h("p", { class: "note weak" }, icon("warn"), t("The evidence is weak. Check the sources before you rely on this.")),
        this.sources());
    }
    this.drawNotes();
  }

  drawNotes() {
    this.foot.querySelectorAll(".from-server").forEach((note) => note.remove());
    this.foot.prepend(...this.notes.map((note) => h("p", { class: "note from-server" }, note)));
  }

  /** Return the blocks as elements; `marker` makes the element of a citation's number. */
  render(marker, pictureOf = (item) => lazyPicture(item.page ?? item.thumbnail, "")) {
    const parts = [];
    let paragraph = null;
    let rows = null;
    for (const block of this.blocks) {
      const marks = block.citations.map(marker);
      const support = this.support(block);
      if (block.kind !== "row") rows = null;
      if (block.kind !== "text") paragraph = null;
      if (block.kind === "image") {
        const item = this.cited(block.citations[0]);
        parts.push(h("figure", {}, item && h("button", { type: "button", class: "frame", "aria-label": t("Open {name}", { name: item.name }), onclick: () => go({ open: item.id }) }, pictureOf(item)),
          h("figcaption", {}, block.text, " ", marks)));
      } else if (block.kind === "code") {
        parts.push(h("div", { class: "code" }, h("pre", { tabindex: "0" }, h("code", {}, block.text)), h("span", { class: "marks" }, marks, support)));
      } else if (block.kind === "row") {
        rows = this.row(parts, rows, block, [...marks, support]);
      } else {
        const [, bullet, words] = /^([-*•]|\d+[.)])\s+(.*)$/s.exec(block.text) ?? [null, "", block.text];
        if (!paragraph || block.starts_paragraph || bullet) {
          parts.push((paragraph = h("p", { class: bullet && "listed" }, bullet && h("span", { class: "bullet" }, /\d/.test(bullet) ? bullet : "•"), bullet && " ")));
        }
        paragraph.append(h("span", { class: `sentence ${block.support ?? ""}` }, words), ...marks.flatMap((mark) => ["\u2060", mark]), ...(support ? [support] : []), " ");
      }
    }
    return parts;
  }

  row(parts, rows, block, marks) {
    const cells = block.text.split("\n")[0].replace(/^\s*\||\|\s*$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
    const isHead = /\n\s*\|?\s*:?-{2,}/.test(block.text);
    if (!rows || isHead) {
      rows = h("tbody");
      parts.push(h("div", { class: "table" }, h("table", {}, isHead && h("thead", {}, h("tr", {}, cells.map((cell) => h("th", { scope: "col" }, cell)))), rows)));
    }
    if (!isHead) rows.append(h("tr", {}, cells.map((cell, number) => h("td", {}, cell, number === cells.length - 1 && marks))));
    return rows;
  }

  support(block) {
    if (block.support !== "weak" && block.support !== "unsupported") return null;
    const words = block.support === "weak" ? t("weakly supported") : t("not supported");
    return h("span", { class: "support", title: block.reason ?? "" }, block.reason ? `${words}: ${block.reason}` : words);
  }

  cited(number) {
    return this.citations.find((citation) => citation.number === number)?.item ?? null;
  }

  marker(number) {
    const citation = this.citations.find((entry) => entry.number === number);
    if (!citation) return h("span", { class: "marker" }, number);
    const button = h("button", { type: "button", class: "marker", "aria-label": t("Source {number}: {name}", { number, name: citation.item.name }), onclick: () => (hideCard(), go({ open: citation.item.id })) }, number);
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => showCard(button, citation));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => hideCard(200));
    return button;
  }

  sources() {
    if (!this.citations.length) return null;
    return h("ol", { class: "sources", "aria-label": t("Sources") }, this.citations.map((citation) =>
      h("li", {}, h("button", { type: "button", class: "source-card", onclick: () => go({ open: citation.item.id }) },
        h("span", { class: "marker", "aria-hidden": "true" }, citation.number),
        citation.item.thumbnail && lazyPicture(citation.item.thumbnail, ""),
        h("span", { class: "source-words" }, h("b", {}, citation.item.name), h("span", {}, place(citation.item) || confidence(citation.item.confidence)[1]))))));
  }

  /** Save the answer with its pictures and sources as one file that needs nothing else. */
  async export() {
    try {
      const pictures = new Map();
      for (const { item } of this.citations) {
        const address = item.page ?? item.thumbnail;
        if (address) pictures.set(item.id, await api.pictureData(address).catch(() => null));
      }
      const image = (item) => pictures.get(item.id) && h("img", { src: pictures.get(item.id), alt: item.name });
      const page = document.implementation.createHTMLDocument(this.question);
      page.documentElement.lang = this.done.language ?? document.documentElement.lang;
      page.head.prepend(h("meta", { charset: "utf-8" }));
      page.head.append(h("meta", { name: "viewport", content: "width=device-width" }));
      const blocks = this.render((number) => h("a", { href: `#source-${number}`, class: "marker" }, `[${number}]`), image);
      page.body.append(h("h1", {}, this.question), ...blocks, h("h2", {}, t("Sources")), h("ol", {}, this.citations.map((citation) =>
        h("li", { id: `source-${citation.number}`, value: citation.number }, h("b", {}, citation.item.name), " ", place(citation.item),
          citation.quote && h("blockquote", {}, citation.quote), image(citation.item)))));
      for (const button of page.querySelectorAll("button")) button.replaceWith(...button.childNodes);
      // The policy of this page would refuse the style as an element; in the file it is wanted.
      const text = `<!doctype html>\n${page.documentElement.outerHTML.replace("</head>", () => `<style>${EXPORT_STYLE}</style></head>`)}`;
      const name = this.question.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) || "answer";
      api.saveBlob(new Blob([text], { type: "text/html" }), `${name}.html`);
    } catch (problem) {
      tell(trouble(problem));
    }
  }
}

const EXPORT_STYLE = `body{font:17px/1.6 Georgia,"Noto Serif CJK SC",serif;max-width:42rem;margin:3rem auto;padding:0 1.25rem;color:#1d1c19;background:#fff}
h1{font-size:1.7rem;line-height:1.25}h2{font-size:1.1rem;margin-top:2.5rem}img{max-width:100%;max-height:30rem;border-radius:6px}
.marker{font:600 .75em system-ui,sans-serif;color:#0d6b5e;text-decoration:none;margin-left:.15em}figure{margin:1.5rem 0}figcaption{color:#666;font-size:.9rem}
pre{background:#f5f3ee;padding:1rem;overflow:auto;border-radius:6px}table{border-collapse:collapse}td,th{border:1px solid #ddd;padding:.35rem .6rem;text-align:left}
blockquote{margin:.4rem 0;padding-left:1rem;border-left:3px solid #ddd;color:#555}li{margin:.8rem 0;overflow-wrap:anywhere}.support{font-size:.85em;color:#9a5b00;margin-left:.4em}`;

// --- the passage of a marker, on hover and focus ------------------------------------------------------------------

let card = null;
let timer = 0;

function showCard(anchor, citation) {
  clearTimeout(timer);
  if (card?.anchor === anchor) return;
  hideCard();
  const { item } = citation;
  const shown = h("div", { class: "card-over", popover: "manual", role: "tooltip", id: "citation-card" },
    h("div", { class: "caption" }, confidenceMark(item), sourceLine(item)),
    item.thumbnail && lazyPicture(item.thumbnail, ""),
    h("p", {}, plain(citation.quote ?? (item.text ?? ""), item.name).slice(0, 400)),
    h("small", { class: "quiet" }, t("Click to open")));
  shown.addEventListener("pointerenter", () => clearTimeout(timer));
  shown.addEventListener("pointerleave", () => hideCard(200));
  shown.addEventListener("click", () => (hideCard(), go({ open: item.id })));
  anchor.closest(".answer").append(shown);
  shown.showPopover();
  anchor.setAttribute("aria-describedby", "citation-card");
  beside(shown, anchor, anchor.closest(".answer").getBoundingClientRect().right + 12);
  card = { anchor, shown };
}

function hideCard(wait = 0) {
  clearTimeout(timer);
  if (wait) {
    timer = setTimeout(hideCard, wait);
    return;
  }
  card?.anchor.removeAttribute("aria-describedby");
  card?.shown.remove();
  card = null;
}

addEventListener("keydown", (event) => event.key === "Escape" && hideCard());
addEventListener("scroll", () => hideCard(), { passive: true });
