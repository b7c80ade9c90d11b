// The results: pictures in a grid and passages beside them, with the answer above where there is a question.

import * as api from "./api.js";
import { Answer } from "./answer.js";
import { filtersOf, modeSwitch } from "./box.js";
import { fill, h, icon, say } from "./dom.js";
import { confidenceMark, context, errorCard, hitActions, lazyPicture, sourceLine } from "./parts.js";
import { excerpt, marked, plain } from "./prose.js";
import { go, hasQuery, modeOf, picture, state } from "./state.js";
import { n, t } from "./words.js";

const STEP = 24;
const MOST = 200;
const WEAK = 0.15; // an answer needs as much
const TAIL = 20; // hits that are so many times less probable than the best wait behind a button
const FIRST = 6; // these never do
let shownHits = [];
let running = null;
let lastKey = "";

/** The hits that are shown, in order: the viewer goes through them. */
export const hits = () => shownHits;

const keyOf = (values) => JSON.stringify([context.collection?.name, values.q, modeOf(values), filtersOf(values), values.words, values.image, values.like, values.unlike]);

/** Show the results of a state in an element; nothing happens if they are there already. */
export function showResults(place, values) {
  const key = keyOf(values);
  if (key === lastKey && place.firstChild) return;
  lastKey = key;
  running?.abort();
  running = new AbortController();
  new Results(place, values, running.signal).start();
}

export function forget() {
  running?.abort();
  lastKey = "";
  shownHits = [];
}

class Results {
  constructor(place, values, signal) {
    Object.assign(this, { place, values, signal, k: STEP });
    this.mode = modeOf(values);
    this.isPicture = !values.q && Boolean(values.image || values.like);
    this.head = h("div", { class: "results-head" });
    this.answer = h("div", { class: "answer-place" });
    this.body = h("div", { class: "results-body" });
    const subject = values.q || values.words || (values.like ? t("Like this") : t("Your picture"));
    fill(place, h("h1", { class: "hidden" }, subject), this.head, h("div", { class: `results ${this.mode}` }, this.answer, this.body));
  }

  query() {
    const { q, image, like, unlike } = this.values;
    const body = { ...filtersOf(this.values), k: this.k };
    if (q) body.query = q;
    if (image) body.image = picture(image);
    if (like) body.like = like;
    if (unlike) body.unlike = unlike;
    return body;
  }

  async start() {
    if (this.values.image && !picture(this.values.image)) {
      fill(this.body, emptyCard(t("The picture is no longer here"), t("Pictures that you drop last as long as the tab. Drop it again."),
        [h("button", { type: "button", class: "button", onclick: () => go({ image: "" }) }, t("Go on without it"))]));
      return;
    }
    fill(this.head, h("p", { class: "count" }, t("Searching …")), modeSwitch(this.values));
    fill(this.body, skeleton());
    try {
      if (this.mode === "ask") await this.ask();
      else this.show(await this.search());
    } catch (problem) {
      if (problem.name === "AbortError") return;
      fill(this.head, modeSwitch(this.values));
      fill(this.body, errorCard(problem, () => this.start()));
    }
  }

  async search() {
    const { words } = this.values;
    if (this.isPicture && !words && !this.values.type) {
      // What looks like a picture is wanted most: its likes are not to be crowded out by passages.
      const both = [this.query(), { ...this.query(), modality: "image" }];
      const [all, pictures] = await Promise.all(both.map((query) => api.search(context.collection.name, query, this.signal)));
      const missing = pictures.hits.filter((hit) => !all.hits.some((other) => other.id === hit.id));
      return { hits: [...all.hits, ...missing].sort((a, b) => b.confidence - a.confidence), notes: all.notes };
    }
    if (!words) return api.search(context.collection.name, this.query(), this.signal);
    // Words in pictures: of the pictures that fit the query, those in which the words were read.
    const body = { ...this.query(), modality: "image", k: MOST };
    const queries = [{ ...body, query: words, image: undefined, like: undefined }];
    if (hasQuery({ ...this.values, words: "" })) queries.unshift(body);
    const found = await Promise.all(queries.map((query) => api.search(context.collection.name, query, this.signal)));
    const wanted = words.toLocaleLowerCase().split(/\s+/);
    const seen = new Set();
    const matching = found.flatMap(({ hits: some }) => some).filter((hit) => {
      const read = hit.span.ocr_start === undefined ? "" : (hit.text ?? "").slice(hit.span.ocr_start).toLocaleLowerCase();
      return wanted.every((word) => read.includes(word)) && !seen.has(hit.id) && seen.add(hit.id);
    });
    return { hits: matching, notes: found[0].notes, whole: true };
  }

  async ask() {
    const answer = new Answer(this.answer, this.values.q, () => {
      running?.abort();
    }, () => {
      lastKey = "";
      showResults(this.place, state());
    });
    try {
      for await (const { event, data } of api.ask(context.collection.name, { ...this.query(), k: 12 }, this.signal)) {
        if (event === "evidence") this.show({ ...data, whole: true });
        answer.take(event, data);
      }
      answer.end();
    } catch (problem) {
      if (problem.name === "AbortError") {
        answer.stopped();
        return;
      }
      if (this.body.querySelector(".skeleton")) throw (answer.remove(), problem);
      answer.take("error", { ...problem, detail: problem.message });
    }
  }

  show({ hits: ranked, notes, whole = false }) {
    const best = Math.max(0, ...ranked.map((hit) => hit.confidence));
    const isPicture = (hit) => hit.thumbnail && hit.modality !== "text";
    const first = new Set(this.isPicture ? ranked.filter(isPicture).slice(0, 2 * FIRST) : ranked.slice(0, FIRST));
    const found = this.showsTail || whole ? ranked : ranked.filter((hit) => first.has(hit) || hit.confidence >= best / TAIL);
    shownHits = found;
    const pictures = found.filter(isPicture);
    const passages = found.filter((hit) => !pictures.includes(hit));
    fill(this.head, h("p", { class: "count" }, found.length ? summary(pictures.length, passages.length) : ""), modeSwitch(this.values));
    say(found.length ? summary(pictures.length, passages.length) : t("Nothing was found"));
    const parts = [...notes.map((note) => h("p", { class: "note" }, icon("warn"), note))];
    if (!found.length) parts.push(nothing(this.values));
    else if (best < WEAK && this.mode === "search" && !this.values.words) parts.push(h("p", { class: "note weak" }, icon("warn"), t("The evidence is weak: these come nearest, and none is sure.")));
    const columns = h("div", { class: `columns ${balance(pictures.length, passages.length)}` });
    if (passages.length) columns.append(h("section", { class: "passages", "aria-label": t("Passages") }, h("h2", {}, t("Passages")), h("div", { class: "list" }, passages.map(passage))));
    if (pictures.length) columns.append(h("section", { class: "pictures", "aria-label": t("Pictures") }, h("h2", {}, t("Pictures")), h("div", { class: "grid" }, pictures.map(tile))));
    parts.push(columns);
    if (found.length < ranked.length) {
      const weaker = n("Show {n} weaker hit", "Show {n} weaker hits", ranked.length - found.length);
      parts.push(h("button", { type: "button", class: "button more", onclick: () => ((this.showsTail = true), this.show({ hits: ranked, notes })) }, weaker));
    } else if (!whole && found.length >= this.k && this.k < MOST) {
      parts.push(h("button", { type: "button", class: "button more", onclick: () => this.more() }, t("Show more")));
    }
    fill(this.body, parts);
  }

  async more() {
    const button = this.body.querySelector(".more");
    button.disabled = true;
    button.textContent = t("Searching …");
    const before = shownHits.length;
    this.k = Math.min(MOST, this.k * 2 + STEP / 2);
    try {
      const top = scrollY;
      this.show(await this.search());
      scrollTo(0, top);
      document.querySelector(`[data-hit="${CSS.escape(shownHits[before]?.id ?? "")}"] .open`)?.focus({ preventScroll: true });
    } catch (problem) {
      if (problem.name !== "AbortError") button.replaceWith(errorCard(problem, () => this.more()));
    }
  }
}

function summary(pictures, passages) {
  return [passages && n("{n} passage", "{n} passages", passages), pictures && n("{n} picture", "{n} pictures", pictures)].filter(Boolean).join(t(", "));
}

/** Which columns there are; where most hits are of one kind, these get more of the width. */
function balance(pictures, passages) {
  if (!pictures || !passages) return pictures ? "pictures-only" : "passages-only";
  return pictures >= 3 * passages ? "both mostly-pictures" : passages >= 3 * pictures ? "both mostly-passages" : "both";
}

function skeleton() {
  return h("div", { class: "columns both skeleton", "aria-hidden": "true" },
    h("section", { class: "passages" }, h("div", { class: "list" }, [1, 2, 3].map(() => h("div", { class: "bones" }, h("i"), h("i"), h("i"))))),
    h("section", { class: "pictures" }, h("div", { class: "grid" }, [1, 2, 3, 4, 5, 6].map(() => h("div", {}, h("div", { class: "frame" }))))));
}

function emptyCard(title, words, more = []) {
  return h("section", { class: "card empty" }, h("h2", {}, title), h("p", {}, words), more);
}

function nothing(values) {
  const filtered = ["type", "folder", "after", "before", "words", "without"].some((name) => values[name]);
  return emptyCard(t("Nothing was found"), filtered ? t("The filters leave nothing that fits.") : t("Try other words, or fewer."),
    [filtered && h("button", { type: "button", class: "button", onclick: () => go({ type: "", folder: "", after: "", before: "", words: "", without: "" }) }, t("Remove all filters"))].filter(Boolean));
}

const openHit = (hit) => go({ open: hit.id });

function tile(hit) {
  return h("article", { class: "tile", "data-hit": hit.id },
    h("button", { type: "button", class: "open frame", "aria-label": t("Open {name}", { name: hit.name }), onclick: () => openHit(hit) }, lazyPicture(hit.thumbnail, "")),
    h("div", { class: "below" }, h("div", { class: "caption" }, confidenceMark(hit), h("span", { class: "file", title: hit.name }, hit.name)), hitActions(hit)));
}

function passage(hit) {
  return h("article", { class: "passage", "data-hit": hit.id },
    h("button", { type: "button", class: "open", onclick: () => openHit(hit) },
      h("span", { class: "text" }, marked(excerpt(plain(hit.text ?? "", hit.name), state().q), state().q))),
    h("div", { class: "below" }, h("div", { class: "caption" }, confidenceMark(hit), sourceLine(hit)), hitActions(hit)));
}
