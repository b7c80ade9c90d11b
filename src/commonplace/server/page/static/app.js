// The page: what the address says is shown. Views are drawn by their modules; this one puts them together.

import * as api from "./api.js";
import { box, home, usePicture } from "./box.js";
import { addButtons, jobList, showDocuments } from "./documents.js";
import { fill, h, icon, iconButton, tell } from "./dom.js";
import { context, errorCard } from "./parts.js";
import { forget, showResults } from "./results.js";
import { EMPTY, changed, go, hasQuery, onChange, state } from "./state.js";
import { onUploads, pairsOf, running, upload } from "./uploads.js";
import { showViewer } from "./viewer.js";
import { choose, current, load, n, t, trouble } from "./words.js";

const THEMES = { auto: "auto", light: "sun", dark: "moon" };
const main = h("main", { id: "main", tabindex: "-1" });
const header = h("header", { class: "top" });
const busyDot = h("i", { class: "busy-dot", hidden: true });
let drawn = "";

function showBusy() {
  busyDot.hidden = !running.some((entry) => !entry.problem && (!entry.job || entry.job.finished === null));
  busyDot.title = t("Files are being read");
}

function theme(chosen = localStorage.getItem("commonplace-theme") ?? "auto") {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  return chosen;
}

// --- the frame ----------------------------------------------------------------------------------------------------

function drawHeader(values) {
  const isHome = !hasQuery(values) && values.view !== "documents";
  const names = { auto: t("Light or dark: as the system"), light: t("Light"), dark: t("Dark") };
  const now = theme();
  const order = Object.keys(THEMES);
  const wasTyping = header.contains(document.activeElement) && document.activeElement.name === "q";
  fill(header,
    h("a", { class: "brand", href: "/", "aria-label": t("Commonplace, start"), onclick: (event) => (event.preventDefault(), home()) }, mark(), h("span", {}, "Commonplace")),
    !isHome && values.view !== "documents" && context.collection ? box() : h("span", { class: "grow" }),
    h("nav", { "aria-label": t("Page") },
      h("button", { type: "button", class: "nav-button", "aria-pressed": String(values.view === "documents"), "aria-label": t("Documents"), onclick: () => go(values.view === "documents" ? { view: "" } : { view: "documents", open: "" }) },
        icon("file"), h("span", {}, t("Documents")), busyDot),
      h("button", { type: "button", class: "nav-button language", "aria-label": current() === "zh" ? "English" : "中文", lang: current() === "zh" ? "en" : "zh", onclick: async () => (await choose(current() === "zh" ? "en" : "zh"), redraw()) }, current() === "zh" ? "EN" : "中文"),
      iconButton(THEMES[now], names[now], { onclick: () => {
        localStorage.setItem("commonplace-theme", order[(order.indexOf(now) + 1) % order.length]);
        drawHeader(state());
        header.querySelector("nav .icon-button")?.focus();
      } }),
      context.status?.needs_key && iconButton("key", t("Change the key"), { onclick: () => askForKey(false).then(start) })));
  if (wasTyping) header.querySelector(".box input")?.focus();
}

function mark() {
  return h("span", { class: "mark", "aria-hidden": "true" });
}

function redraw() {
  drawn = "";
  forget();
  document.querySelector("dialog.viewer")?.remove();
  changed();
}

function show(values) {
  if (!context.collection) return;
  if (values.collection && values.collection !== context.collection.name && context.names.includes(values.collection)) {
    chooseCollection(values.collection).then(() => show(state()), failed);
    return;
  }
  const kind = values.view === "documents" ? "documents" : hasQuery(values) ? "results" : isEmpty() ? "first" : "home";
  const { open, ...rest } = values;
  const key = JSON.stringify([kind, rest]);
  if (key !== drawn) {
    drawHeader(values);
    document.body.dataset.view = kind;
    if (kind === "documents") showDocuments(main, values);
    else if (kind === "results") showResults(main, values);
    else {
      forget();
      fill(main, kind === "first" ? firstRun() : start_());
      if (kind === "home" && matchMedia("(hover: hover)").matches) main.querySelector(".box input")?.focus();
    }
    if (JSON.parse(drawn || "[0]")[0] !== kind) scrollTo(0, 0);
    drawn = key;
    document.title = [values.q || (kind === "documents" ? t("Documents") : ""), "Commonplace"].filter(Boolean).join(" · ");
  }
  showViewer(values);
}

const isEmpty = () => Object.values(context.collection.documents).every((count) => count === 0);

function start_() {
  const { documents, items } = context.collection;
  const count = Object.values(documents).reduce((a, b) => a + b, 0);
  return h("div", { class: "home" },
    h("h1", {}, t("What are you looking for?")),
    box({ large: true }),
    h("p", { class: "quiet hints" },
      t("Words, a question, or a picture: drop it here, paste it, or pick it."), " ",
      h("span", {}, [n("{n} document", "{n} documents", count), n("{n} passage", "{n} passages", items.text ?? 0), n("{n} picture", "{n} pictures", items.image ?? 0)].join(" · "))));
}

function firstRun() {
  const { name, can_write: canWrite } = context.collection;
  const command = `commonplace --collection ${name === "default" ? "FOLDER" : name} add ~/Documents`;
  return h("div", { class: "first" },
    h("h1", {}, t("Make a folder answer questions")),
    h("p", { class: "lead" }, t("Add documents and pictures. They stay on this machine. Then search them in words, with a picture, or ask.")),
    canWrite
      ? h("section", { class: "dropzone" }, icon("upload"), h("h2", {}, t("Drop files or a folder here")), h("p", { class: "quiet" }, t("PDF, Office, web pages, Markdown, mail, code, pictures, and archives of these")), addButtons())
      : h("p", { class: "note" }, icon("warn"), t("This collection is empty, and your key may not add to it.")),
    canWrite && jobList(),
    h("details", {}, h("summary", {}, t("Add a folder of the server instead")),
      h("p", {}, t("Files are read where they lie and are not copied:")),
      h("pre", { tabindex: "0" }, h("code", {}, command)),
      h("p", { class: "quiet" }, t("FOLDER is the collection that the server was started with. Reload this page afterwards."))));
}

function noCollection() {
  const name = h("input", { type: "text", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}", required: true, placeholder: "papers", "aria-label": t("Name of the collection"), autofocus: true });
  return h("div", { class: "first" },
    h("h1", {}, t("Make a folder answer questions")),
    context.canCreate
      ? [h("p", { class: "lead" }, t("A collection holds documents and pictures that are searched together. Name the first one.")),
        h("form", { class: "line", onsubmit: async (event) => {
          event.preventDefault();
          try {
            await api.createCollection(name.value.trim());
            await start();
          } catch (problem) {
            tell(trouble(problem));
          }
        } }, name, h("button", { class: "button primary" }, t("Create")))]
      : h("p", { class: "lead" }, t("There is no collection that your key may read.")));
}

// --- the key ------------------------------------------------------------------------------------------------------

let asking = null;

function askForKey(wasWrong) {
  asking ??= new Promise((resolve) => {
    const field = h("input", { type: "password", name: "key", autocomplete: "current-password", required: true, "aria-label": t("Key"), autofocus: true });
    const always = h("input", { type: "checkbox", name: "always" });
    const dialog = h("dialog", { class: "key", "aria-labelledby": "key-title" },
      h("form", { onsubmit: (event) => {
        event.preventDefault();
        api.keepKey(field.value.trim(), always.checked);
        dialog.remove();
        asking = null;
        resolve();
      } },
      icon("key"), h("h2", { id: "key-title" }, t("This server needs a key")),
      h("p", { class: "quiet" }, t("Whoever runs it makes one with `commonplace keys add NAME`.")),
      wasWrong && h("p", { class: "note weak", role: "alert" }, icon("warn"), t("That key is not valid.")),
      h("input", { type: "text", name: "username", autocomplete: "username", class: "hidden", value: "commonplace", tabindex: "-1", "aria-hidden": "true" }),
      field, h("label", { class: "check" }, always, t("Remember it in this browser")), h("button", { class: "button primary" }, t("Go on"))));
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

// --- drop and paste -----------------------------------------------------------------------------------------------

function dropping() {
  const zone = (kind, name, words) => h("div", { class: "drop-zone", "data-kind": kind }, icon(name), h("strong", {}, words));
  const overlay = h("div", { class: "drop-overlay", hidden: true });
  document.body.append(overlay);
  const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files") && context.collection;
  const kinds = (event) => {
    const items = [...event.dataTransfer.items];
    const isPicture = items.length === 1 && items[0].type.startsWith("image/");
    const list = [];
    if (isPicture && !isEmpty()) list.push("search");
    if (context.collection.can_write) list.push("add");
    return list;
  };
  addEventListener("dragenter", (event) => {
    if (!hasFiles(event) || !overlay.hidden) return;
    fill(overlay, kinds(event).map((kind) => (kind === "search" ? zone(kind, "search", t("Search with this picture")) : zone(kind, "upload", t("Add to the collection {name}", { name: context.collection.name })))));
    overlay.hidden = !overlay.firstChild;
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    for (const part of overlay.children) part.classList.toggle("over", part === event.target.closest?.(".drop-zone"));
  });
  addEventListener("dragleave", (event) => event.relatedTarget === null && (overlay.hidden = true));
  addEventListener("drop", async (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    overlay.hidden = true;
    const allowed = kinds(event);
    const aimed = event.target.closest?.(".drop-zone")?.dataset.kind;
    const view = document.body.dataset.view;
    const kind = aimed ?? (allowed.includes("search") && (view === "home" || view === "results") ? "search" : allowed.at(-1));
    if (kind === "search") await usePicture(event.dataTransfer.files[0]);
    else if (kind === "add") {
      const pairs = await pairsOf(event.dataTransfer);
      if (view !== "first") go({ view: "documents", open: "" });
      await upload(pairs);
    } else tell(t("Your key may not add to this collection."));
  });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((entry) => entry.type.startsWith("image/"));
    if (!file || !context.collection) return;
    event.preventDefault();
    usePicture(file);
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, textarea, dialog") || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    document.querySelector(".box input")?.focus();
  });
}

// --- start --------------------------------------------------------------------------------------------------------

async function chooseCollection(name) {
  context.collection = await api.collection(name);
}

function failed(problem) {
  drawHeader({ ...EMPTY });
  fill(main, errorCard(problem, start));
}

async function start() {
  try {
    [context.status, { collections: context.names, can_create: context.canCreate }] = [await api.status(), await api.collections()];
    const wanted = state().collection;
    const name = context.names.includes(wanted) ? wanted : context.names[0];
    if (!name) {
      drawHeader({ ...EMPTY });
      fill(main, noCollection());
      return;
    }
    await chooseCollection(name);
    drawn = "";
    show(state());
  } catch (problem) {
    failed(problem);
  }
}

theme();
api.onMissingKey(askForKey);
await load();
document.body.append(h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), main.focus()) }, t("To the content")), header, main);
onChange(show);
onUploads(showBusy);
addEventListener("commonplace-added", async (event) => {
  if (event.detail.collection !== context.collection?.name) return;
  const wasEmpty = isEmpty();
  await chooseCollection(context.collection.name).catch(() => {});
  if (wasEmpty && !isEmpty() && document.body.dataset.view === "first") redraw();
});
dropping();
await start();
