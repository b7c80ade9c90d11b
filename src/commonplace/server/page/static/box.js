// The one box: words, a picture, or both; and the chips that narrow any query.

import * as api from "./api.js";
import { h, icon, iconButton, tell } from "./dom.js";
import { context, lazyPicture, popup } from "./parts.js";
import { EMPTY, go, hasQuery, keepPicture, modeOf, picture, state } from "./state.js";
import { n, t, trouble } from "./words.js";

const TYPES = [
  ["text", () => t("Passages"), { modality: "text" }],
  ["image", () => t("Pictures"), { modality: "image" }],
  ["pdf", () => "PDF", { media_type: "application/pdf" }],
  ["office", () => t("Office files"), { media_type: "application/vnd.*" }],
  ["web", () => t("Web pages"), { media_type: "text/html" }],
  ["notes", () => t("Plain text and Markdown"), { media_type: "text/*" }],
  ["video", () => t("Video"), { media_type: "video/*" }],
];

/** Return the filters of a state as the API takes them. */
export function filtersOf(values) {
  const filters = { ...TYPES.find(([name]) => name === values.type)?.[2] };
  if (values.folder) filters.path = /[*?[/]/.test(values.folder) ? values.folder : `*${values.folder}*`;
  if (values.after) filters.after = values.after;
  if (values.before) filters.before = values.before;
  if (values.without) filters.negative = values.without;
  return filters;
}

/** Search with a picture file, beside the words that are there. */
export async function usePicture(file) {
  try {
    const name = await keepPicture(file);
    const words = document.querySelector(".box input")?.value.trim() ?? "";
    go({ image: name, q: words, like: "", view: "", open: "", mode: words ? "search" : "" });
  } catch {
    tell(t("{name} is not a picture that this browser can read.", { name: file.name || t("The file") }));
  }
}

/** Return the box with its chips. */
export function box({ large = false } = {}) {
  const values = state();
  const input = h("input", {
    type: "search", name: "q", autocomplete: "off", spellcheck: "false", enterkeyhint: "search", maxlength: "4000",
    "aria-label": t("Search words or a question"), value: values.q,
    placeholder: values.image || values.like ? t("Add words, if you like") : t("Search, or ask a question"),
  });
  const submit = (mode) => {
    const q = input.value.trim();
    if (q || hasQuery({ ...values, q })) go({ q, mode, view: "", open: "" });
    else input.focus();
  };
  const chooser = h("input", { type: "file", accept: "image/*", class: "hidden", tabindex: "-1", "aria-hidden": "true", onchange: () => chooser.files[0] && usePicture(chooser.files[0]) });
  const form = h("form", { class: "box", role: "search", onsubmit: (event) => (event.preventDefault(), submit("")) },
    h("div", { class: "field" },
      icon("search"),
      attached(values),
      input,
      chooser,
      iconButton("picture", t("Search with a picture"), { onclick: () => chooser.click() }),
      h("button", { type: "submit", class: "submit", "aria-label": t("Search") }, icon("arrow"))));
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit("ask");
    }
  });
  return h("div", { class: large ? "asking large" : "asking" }, form, chips(values));
}

/** The picture and the examples that a query starts from, each with a way to take it away. */
function attached(values) {
  const parts = [];
  const data = picture(values.image);
  const chip = (content, words, name) =>
    h("span", { class: `attached ${name}` }, content, h("span", { class: "attached-words" }, words),
      iconButton("close", t("Remove: {words}", { words }), { onclick: () => go({ [name]: "" }) }));
  if (values.image) parts.push(chip(data ? h("img", { src: data, alt: t("Your picture") }) : icon("picture"), t("Your picture"), "image"));
  const example = (id) => lazyPicture(`/v1/collections/${encodeURIComponent(context.collection.name)}/items/${encodeURIComponent(id)}/thumbnail`, "");
  if (context.collection && values.like) parts.push(chip(example(values.like), t("Like this"), "like"));
  if (context.collection && values.unlike) parts.push(chip(example(values.unlike), t("Not like this"), "unlike"));
  return parts;
}

// --- chips ------------------------------------------------------------------------------------------------------

function chips(values) {
  const type = TYPES.find(([name]) => name === values.type);
  const dates = [values.after, values.before].some(Boolean) ? [values.after || "…", values.before || "…"].join(" – ") : "";
  const list = [];
  if (context.names.length > 1) list.push(chip(t("Collection"), context.collection?.name ?? "", chooseCollection, null));
  list.push(
    chip(t("Type"), type?.[1]() ?? "", chooseType, { type: "" }),
    chip(t("Folder"), values.folder.replace(/^(.*\/)?([^/]+\/?)$/, "$2"), chooseFolder, { folder: "" }),
    chip(t("Date"), dates, chooseDate, { after: "", before: "" }),
    chip(t("Words in pictures"), values.words && t("Shows “{words}”", { words: values.words }), (at) => chooseWords(at, "words"), { words: "" }),
    chip(t("Without"), values.without && t("Without “{words}”", { words: values.without }), (at) => chooseWords(at, "without"), { without: "" }),
  );
  return h("div", { class: "chips", role: "group", "aria-label": t("Filters") }, list);
}

function chip(name, value, choose, cleared) {
  const button = h("button", { type: "button", class: "chip-button", "aria-haspopup": "dialog", "aria-expanded": "false", onclick: () => choose(button) },
    value || name, icon("chevron"));
  if (value) button.setAttribute("aria-label", `${name}: ${value}`);
  return h("span", { class: value ? "chip set" : "chip" }, button,
    value && cleared && iconButton("close", t("Remove the filter {name}", { name }), { onclick: () => go(cleared) }));
}

function options(at, title, entries, selected) {
  const shown = popup(at, [
    h("h3", {}, title),
    h("div", { class: "options" }, entries.map(([value, words, detail]) =>
      h("button", { type: "button", class: "option", "aria-pressed": String(value === selected.value), onclick: () => (shown.hidePopover(), selected.choose(value)) },
        h("span", {}, words), detail && h("small", {}, detail), value === selected.value && icon("check")))),
  ], "menu");
}

function chooseCollection(at) {
  options(at, t("Collection"), context.names.map((name) => [name, name]), {
    value: context.collection?.name,
    choose: (name) => go({ collection: name, like: "", unlike: "", open: "", folder: "" }),
  });
}

function chooseType(at) {
  options(at, t("Type"), [["", t("Anything")], ...TYPES.map(([name, words]) => [name, words()])], { value: state().type, choose: (type) => go({ type }) });
}

async function chooseFolder(at) {
  const field = h("input", { type: "text", value: state().folder, placeholder: t("Part of a path, or *.pdf"), "aria-label": t("Folder"), autofocus: true });
  const list = h("div", { class: "options" }, h("p", { class: "quiet" }, t("Looking for folders …")));
  const use = (folder) => (shown.hidePopover(), go({ folder }));
  const shown = popup(at, [
    h("h3", {}, t("Folder")),
    h("form", { class: "line", onsubmit: (event) => (event.preventDefault(), use(field.value.trim())) }, field, h("button", { class: "button primary" }, t("Apply"))),
    list,
  ], "menu");
  try {
    const { documents } = await api.documents(context.collection.name, { limit: 1000 });
    const folders = foldersOf(documents);
    list.replaceChildren(...folders.map(([path, words, count]) =>
      h("button", { type: "button", class: "option", onclick: () => use(path) }, icon("folder"), h("span", {}, words), h("small", {}, count))));
    if (!folders.length) list.replaceChildren(h("p", { class: "quiet" }, t("No folders: all files lie in one place.")));
  } catch (problem) {
    list.replaceChildren(h("p", { class: "quiet" }, trouble(problem)));
  }
}

/** Return [pattern, name, number of documents] of the folders that documents lie in, those with most first. */
function foldersOf(documents) {
  const counts = new Map();
  for (const { path } of documents) {
    const end = path?.lastIndexOf("/") ?? -1;
    if (end > 0) counts.set(path.slice(0, end + 1), (counts.get(path.slice(0, end + 1)) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]).slice(0, 40).map(([path, count]) =>
    [`${path.replace(/[*?[]/g, "?")}*`, path.replace(/\/$/, "").replace(/^upload:/, "").split("/").slice(-2).join(" / "), n("{n} file", "{n} files", count)]);
}

function chooseDate(at) {
  const values = state();
  const [after, before] = ["after", "before"].map((name) => h("input", { type: "date", name, value: values[name] }));
  const today = new Date();
  const day = (back) => new Date(today.getTime() - back * 86_400_000).toISOString().slice(0, 10);
  const use = (from, to) => (shown.hidePopover(), go({ after: from, before: to }));
  const shown = popup(at, [
    h("h3", {}, t("Date")),
    h("div", { class: "presets" }, [[t("Last week"), day(7)], [t("Last month"), day(31)], [t("This year"), `${today.getFullYear()}-01-01`]].map(([words, from]) =>
      h("button", { type: "button", class: "button", onclick: () => use(from, "") }, words))),
    h("form", { class: "stack", onsubmit: (event) => (event.preventDefault(), use(after.value, before.value)) },
      h("label", {}, t("From"), after), h("label", {}, t("Until"), before), h("button", { class: "button primary" }, t("Apply"))),
  ], "menu");
}

function chooseWords(at, name) {
  const help = name === "words" ? t("Only pictures in which these words were read") : t("What is like these words comes later");
  const field = h("input", { type: "text", value: state()[name], "aria-label": at.textContent, autofocus: true });
  const shown = popup(at, [
    h("h3", {}, name === "words" ? t("Words in pictures") : t("Without")),
    h("p", { class: "quiet" }, help),
    h("form", { class: "line", onsubmit: (event) => (event.preventDefault(), shown.hidePopover(), go({ [name]: field.value.trim() })) },
      field, h("button", { class: "button primary" }, t("Apply"))),
  ], "menu");
}

/** Switch between hits alone and an answer for the same words. */
export function modeSwitch(values) {
  if (!values.q || values.words) return null;
  const mode = modeOf(values);
  const button = (name, words) => h("button", { type: "button", "aria-pressed": String(mode === name), onclick: () => go({ mode: name }) }, words);
  return h("div", { class: "switch", role: "group", "aria-label": t("What to show") }, button("search", t("Hits")), button("ask", t("Answer")));
}

export const home = () => go({}, { from: { ...EMPTY, collection: state().collection } });
