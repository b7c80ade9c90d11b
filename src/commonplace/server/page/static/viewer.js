// What a hit or a citation stands in: the page with its box, the picture, or its paragraph in the document.

import * as api from "./api.js";
import { citedHit, quoteOf } from "./answer.js";
import { fill, h, icon, iconButton, tell } from "./dom.js";
import { confidenceMark, context, errorCard, hitActions, lazyPicture } from "./parts.js";
import { highlight, prose } from "./prose.js";
import { hits } from "./results.js";
import { go, state } from "./state.js";
import { place, t, trouble } from "./words.js";

let dialog = null;
let shownId = "";
const documents = new Map(); // items of documents that were opened, the last few

/** Show the item that the address names, or close the viewer. */
export function showViewer(values) {
  if (!values.open || !context.collection) {
    shownId = "";
    if (dialog?.open) dialog.close();
    return;
  }
  if (values.open === shownId) return;
  shownId = values.open;
  dialog ??= makeDialog();
  if (!dialog.open) dialog.showModal();
  draw(values.open);
}

function makeDialog() {
  const made = h("dialog", { class: "viewer", "aria-labelledby": "viewer-title" });
  made.addEventListener("close", () => state().open && go({ open: "" }));
  made.addEventListener("click", (event) => event.target === made && made.close());
  made.addEventListener("keydown", (event) => {
    if (event.target.closest("input, [popover]") || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  return document.body.appendChild(made);
}

const neighbour = (by) => {
  const list = hits();
  const at = list.findIndex((hit) => hit.id === shownId);
  return at < 0 ? null : list[at + by] ?? null;
};

function step(by) {
  const next = neighbour(by);
  if (next) go({ open: next.id }, { replace: true });
}

async function draw(id) {
  const body = h("div", { class: "viewer-body" }, h("p", { class: "quiet loading" }, t("Opening …")));
  fill(dialog, h("header", {}, h("h2", { id: "viewer-title" }, t("Opening …")), closeButton()), body);
  try {
    const hit = hits().find((entry) => entry.id === id) ?? citedHit(id) ?? (await api.item(context.collection.name, id));
    if (shownId !== id) return;
    const where = place(hit);
    const playing = await player(hit);
    if (shownId !== id) return;
    const head = h("header", {},
      h("div", { class: "viewer-title" }, h("h2", { id: "viewer-title" }, hit.name), h("p", { class: "quiet" }, hit.confidence !== undefined && confidenceMark(hit), where && h("span", {}, where))),
      h("div", { class: "viewer-tools" },
        hitActions(hit),
        iconButton("save", t("Save the original file"), { onclick: () => api.save(`${hit.document_href}/original`, hit.name).catch((problem) => tell(trouble(problem))) }),
        iconButton("left", t("Previous hit"), { onclick: () => step(-1), disabled: !neighbour(-1) }),
        iconButton("right", t("Next hit"), { onclick: () => step(1), disabled: !neighbour(1) }),
        closeButton()));
    fill(dialog, head, body);
    fill(body, playing, hit.page ? pageView(hit) : null, hit.modality === "image" || hit.page ? null : await documentView(hit));
    if (shownId !== id) return;
    body.querySelector(".here")?.scrollIntoView({ block: "center" });
    dialog.querySelector("header .icon-button:last-of-type")?.focus({ preventScroll: true });
  } catch (problem) {
    if (shownId === id) fill(body, errorCard(problem, () => draw(id)));
  }
}

const closeButton = () => iconButton("close", t("Close"), { onclick: () => dialog.close() });

/** Return what plays a film or a recording from the second of a hit; null for what has no seconds or is no file of its own. */
async function player(hit) {
  if (hit.span.begin === undefined || hit.span.member) return null;
  const { media_type: type, original } = await api.document_(hit.document_href);
  const name = type.split("/")[0];
  if (name !== "video" && name !== "audio") return null;
  const media = h(name, { class: "player", controls: true, preload: "metadata", "aria-label": t("{name}, {place}", { name: hit.name, place: place(hit) }) });
  media.addEventListener("loadedmetadata", () => (media.currentTime = hit.span.begin), { once: true });
  const fail = (words) => media.replaceWith(h("p", { class: "note" }, icon("warn"), words));
  media.addEventListener("error", () => fail(t("This browser cannot play it. Save the original file, and open it in another program.")));
  api.mediaAddress(original).then((address) => {
    media.src = address;
    if (address.startsWith("blob:")) dialog.addEventListener("close", () => URL.revokeObjectURL(address), { once: true });
  }, (problem) => fail(problem.slug === "large" ? t("It is too large to be played here. Save the original file.") : trouble(problem)));
  return media;
}

function pageView(hit) {
  const view = h("div", { class: "page-view" });
  const image = lazyPicture(`${hit.page}?side=1600`, hit.modality === "image" ? hit.text || hit.name : t("{name}, {place}, with the passage outlined", { name: hit.name, place: place(hit) }));
  image.addEventListener("failed", () => image.replaceWith(h("p", { class: "note" }, icon("warn"), t("The page cannot be drawn. The file may have moved or changed."))));
  view.append(h("div", { class: "sheet" }, image));
  if (hit.text) {
    view.append(h("aside", { class: "page-words" }, h("h3", {}, hit.modality === "image" ? t("Words of this picture") : t("The passage")),
      h("div", { class: "prose" }, passage(hit, quoteOf(hit.id)))));
  }
  return view;
}

async function documentView(hit) {
  if (!documents.has(hit.document_href)) {
    documents.set(hit.document_href, (await api.items(hit.document_href)).items);
    if (documents.size > 8) documents.delete(documents.keys().next().value);
  }
  const parts = [];
  let title = null;
  for (const item of documents.get(hit.document_href)) {
    if (item.title && item.title !== title) parts.push(h("h3", {}, item.title.split(" > ").at(-1)));
    title = item.title ?? title;
    const isHere = item.id === hit.id;
    if (item.thumbnail) parts.push(h("figure", {}, h("button", { type: "button", class: "frame", "aria-label": t("Open {name}", { name: item.name }), onclick: () => go({ open: item.id }) }, lazyPicture(item.thumbnail, ""))));
    else if (item.text) parts.push(isHere ? passage(item, quoteOf(item.id), { class: "paragraph here", "aria-current": "true" }) : passage(item, null));
  }
  return h("article", { class: "document prose" }, parts);
}

/** Return the text of an item, with what the answer quoted of it highlighted. */
function passage(item, quote, properties = {}) {
  const element = h("div", { class: "paragraph", ...properties }, prose(item.text, item.name));
  if (quote) highlight(element, quote);
  return element;
}
