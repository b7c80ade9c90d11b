// The documents: their status with its reason, what can be done about it, and uploads with their progress.

import * as api from "./api.js";
import { fill, h, icon, iconButton, tell } from "./dom.js";
import { context, errorCard, lazyPicture } from "./parts.js";
import { go, state } from "./state.js";
import { again, badUploads, cancel, dismiss, onUploads, pairsOf, resume, running, upload } from "./uploads.js";
import { n, t, trouble } from "./words.js";

const STATUSES = {
  ok: [() => t("Read"), "good"],
  partial: [() => t("Partly read"), "warn"],
  failed: [() => t("Not read"), "bad"],
  skipped: [() => t("Skipped"), "quiet"],
  waiting: [() => t("Waiting"), "quiet"],
  unchanged: [() => t("Unchanged"), "good"],
  cancelled: [() => t("Cancelled"), "quiet"],
};

const statusMark = (name) => {
  const [words, kind] = STATUSES[name] ?? [() => name, "quiet"];
  return h("span", { class: `status ${kind}` }, h("i", { "aria-hidden": "true" }), words());
};

let view = null;

export async function showDocuments(place, values) {
  if (!view || !place.contains(view.element) || view.name !== context.collection.name) {
    view = new Documents();
    fill(place, view.element);
    if (context.collection.can_write) resume(context.collection.name);
  }
  view.jobs();
  await view.load(values);
}

/** Buttons that pick files or a folder to add. */
export function addButtons() {
  const picker = (folder) => {
    const input = h("input", { type: "file", class: "hidden", tabindex: "-1", "aria-hidden": "true" });
    input.multiple = true;
    if (folder) input.webkitdirectory = true;
    input.addEventListener("change", async () => {
      await upload(await pairsOf({ files: input.files }));
      input.value = "";
    });
    return input;
  };
  const files = picker(false);
  const folder = picker(true);
  return h("div", { class: "add-buttons" }, files, folder,
    h("button", { type: "button", class: "button primary", onclick: () => files.click() }, icon("upload"), t("Choose files")),
    h("button", { type: "button", class: "button", onclick: () => folder.click() }, icon("folder"), t("Choose a folder")));
}

/** The uploads and jobs of this tab, drawn again whenever one changes. */
export function jobList() {
  const list = h("div", { class: "jobs" });
  const draw = () => fill(list, running.filter((entry) => entry.collection === context.collection?.name).map(jobCard));
  onUploads(draw);
  draw();
  return list;
}

function jobCard(entry) {
  const { job, problem } = entry;
  const isOver = job && job.finished !== null;
  const counts = {};
  for (const { state: name } of job?.uploads ?? []) counts[name] = (counts[name] ?? 0) + 1;
  const bad = job ? badUploads(entry) : [];
  const share = !job ? entry.share * 0.3 : 0.3 + 0.7 * (job.total ? job.done / job.total : 1);
  const words = problem ? trouble(problem)
    : !job ? t("Sending {words} …", { words: entry.words })
    : !isOver ? t("Reading {done} of {total} …", { done: Math.min(job.done + 1, job.total), total: job.total })
    : job.state === "cancelled" ? t("Cancelled. What was read stays.")
    : counts.failed ? t("Added {done} of {total} files", { done: job.total - counts.failed, total: job.total })
    : t("Added {words}", { words: entry.words || n("{n} file", "{n} files", job.total) });
  return h("section", { class: `job ${problem ? "bad" : isOver ? "over" : ""}`, "aria-label": t("Upload") },
    h("div", { class: "job-line" },
      h("strong", { role: problem ? "alert" : "status" }, words),
      isOver && h("span", { class: "quiet" }, Object.entries(counts).map(([name, count]) => `${count} × ${(STATUSES[name]?.[0]() ?? name).toLocaleLowerCase()}`).join(t(", "))),
      h("span", { class: "grow" }),
      problem && entry.again && h("button", { type: "button", class: "button", onclick: entry.again }, icon("retry"), t("Try again")),
      job && !isOver && !problem && h("button", { type: "button", class: "button", onclick: () => cancel(entry) }, t("Cancel")),
      (isOver || problem) && iconButton("close", t("Close"), { onclick: () => dismiss(entry) })),
    !isOver && !problem && h("progress", { max: 1, value: share, "aria-label": words }),
    isOver && bad.length > 0 && h("ul", { class: "reasons" }, bad.slice(0, 20).map(({ name, state: became, reason }) =>
      h("li", {}, statusMark(became), h("b", {}, name), h("span", {}, reason ?? ""),
        h("button", { type: "button", class: "link", "aria-label": t("Upload {name} again", { name }), onclick: () => again(entry, name) }, t("Try again"))))));
}

class Documents {
  constructor() {
    this.name = context.collection.name;
    this.summary = h("p", { class: "quiet" });
    this.tabs = h("div", { class: "switch", role: "group", "aria-label": t("Status") });
    this.filter = h("input", { type: "search", placeholder: t("Filter by name or folder"), "aria-label": t("Filter by name or folder"), value: state().name });
    let wait = 0;
    this.filter.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => go({ name: this.filter.value.trim() }, { replace: true }), 250);
    });
    this.list = h("div", { class: "document-list" });
    this.jobPlace = h("div");
    const canWrite = context.collection.can_write;
    this.element = h("div", { class: "documents-view" },
      h("div", { class: "documents-head" }, h("div", {}, h("h1", {}, t("Documents")), this.summary), canWrite && addButtons()),
      canWrite && h("p", { class: "dropline" }, icon("upload"), t("Or drop files and folders anywhere on this page.")),
      this.jobPlace,
      h("div", { class: "documents-tools" }, this.tabs, this.filter),
      this.list);
    addEventListener("commonplace-added", (event) => event.detail.collection === this.name && this.element.isConnected && this.load(state()));
  }

  jobs() {
    if (context.collection.can_write && !this.jobPlace.firstChild) this.jobPlace.append(jobList());
  }

  async load(values, cursor = null) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    this.drawTabs(values);
    if (!cursor && !this.list.firstChild) fill(this.list, [1, 2, 3, 4, 5].map(() => h("div", { class: "row skeleton", "aria-hidden": "true" }, h("i"))));
    try {
      const [page, info] = await Promise.all([
        api.documents(this.name, { status: values.status, cursor, contains: values.name }),
        cursor ? context.collection : api.collection(this.name),
      ]);
      if (turn !== this.turn) return;
      context.collection = info;
      this.drawTabs(values);
      const count = Object.values(info.documents).reduce((a, b) => a + b, 0);
      fill(this.summary, [n("{n} document", "{n} documents", count), n("{n} passage", "{n} passages", info.items.text ?? 0), n("{n} picture", "{n} pictures", info.items.image ?? 0)].join(t(", ")));
      const rows = page.documents.map((document) => this.row(document));
      if (cursor) this.list.querySelector(".more")?.replaceWith(...rows);
      else fill(this.list, rows.length ? rows : this.empty(values));
      if (page.next) this.list.append(h("button", { type: "button", class: "button more", onclick: () => this.load(state(), page.next) }, t("Show more")));
    } catch (problem) {
      if (turn === this.turn) fill(this.list, errorCard(problem, () => this.load(values)));
    }
  }

  empty(values) {
    if (values.status || values.name) return h("section", { class: "card empty" }, h("h2", {}, t("No document fits")), h("button", { type: "button", class: "button", onclick: () => go({ status: "", name: "" }) }, t("Show all")));
    return h("section", { class: "card empty" }, h("h2", {}, t("Nothing here yet")), h("p", {}, t("Files that you add are listed here, with what became of each.")));
  }

  drawTabs(values) {
    const counts = context.collection.documents;
    const all = Object.values(counts).reduce((a, b) => a + b, 0);
    const tab = (name, words, count) => h("button", { type: "button", "aria-pressed": String(values.status === name), onclick: () => go({ status: name }) }, words, h("small", {}, count));
    fill(this.tabs, tab("", t("All"), all), Object.entries(counts).filter(([, count]) => count).map(([name, count]) => tab(name, (STATUSES[name]?.[0] ?? (() => name))(), count)));
  }

  row(document) {
    const folder = (document.path ?? "").replace(/^upload:/, "").split("/").slice(0, -1).join("/");
    const line = h("article", { class: "row", "data-document": document.id },
      h("span", { class: "row-picture" }, icon(document.media_type.startsWith("image/") ? "picture" : "file"), document.thumbnail && lazyPicture(document.thumbnail, "")),
      h("div", { class: "row-name" }, document.items > 0
        ? h("button", { type: "button", class: "row-open", title: document.path ?? "", "aria-label": t("Open {name}", { name: document.name }), onclick: () => this.open(document) }, document.name)
        : h("b", { title: document.path ?? "" }, document.name),
        h("span", { class: "quiet" }, [document.title !== document.name && document.title, folder].filter(Boolean).join(" · ")),
        document.reason && h("span", { class: "reason" }, document.reason)),
      h("span", { class: "row-items quiet" }, document.items ? n("{n} item", "{n} items", document.items) : ""),
      statusMark(document.status),
      h("div", { class: "actions" },
        iconButton("save", t("Save the original file"), { onclick: () => api.save(document.original, document.name).catch((problem) => tell(trouble(problem))) }),
        context.collection.can_write && document.status !== "ok" && iconButton("retry", t("Read {name} again", { name: document.name }), { onclick: (event) => this.retry(document, line, event.currentTarget) }),
        context.collection.can_write && iconButton("trash", t("Remove {name}", { name: document.name }), { onclick: () => this.remove(document, line) })));
    return line;
  }

  async open(document) {
    try {
      const { items } = await api.items(document.href);
      if (items.length) go({ open: items[0].id });
    } catch (problem) {
      tell(trouble(problem));
    }
  }

  async retry(document, line, button) {
    if (document.path?.startsWith("upload:")) {
      again({}, decodeURIComponent(document.path.slice("upload:".length)));
      return;
    }
    button.disabled = true;
    line.classList.add("busy");
    try {
      line.replaceWith(this.row(await api.retry(document.href)));
    } catch (problem) {
      button.disabled = false;
      line.classList.remove("busy");
      tell(trouble(problem));
    }
  }

  /** A document goes after some seconds in which that can be taken back; files of the server's disk stay. */
  remove(document, line) {
    line.classList.add("leaving");
    let kept = false;
    tell(t("{name} is removed from the collection.", { name: document.name }), { words: t("Undo"), run: () => ((kept = true), line.classList.remove("leaving")) });
    const finish = async () => {
      removeEventListener("pagehide", finish);
      clearTimeout(wait);
      if (kept) return;
      kept = true;
      try {
        await api.remove(document.href);
        line.remove();
        if (this.element.isConnected) this.load(state());
      } catch (problem) {
        line.classList.remove("leaving");
        tell(trouble(problem));
      }
    };
    const wait = setTimeout(finish, 6000);
    addEventListener("pagehide", finish);
  }
}
