// Uploads: files and folders in batches, and the jobs that read them. They go on while other views are shown.

import * as api from "./api.js";
import { tell } from "./dom.js";
import { context } from "./parts.js";
import { n, t, trouble } from "./words.js";

const BATCH_FILES = 200;
const BATCH_BYTES = 100 * 1024 ** 2;
const listeners = new Set();

/** The uploads and jobs of this tab: {id, words, share, job, problem}. */
export const running = [];

export const onUploads = (listener) => listeners.add(listener);

let drawing = 0;
function changed() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => listeners.forEach((listener) => listener()));
}

const DISMISSED = "commonplace-dismissed";
const dismissed = () => JSON.parse(localStorage.getItem(DISMISSED) ?? "[]");

export function dismiss(entry) {
  running.splice(running.indexOf(entry), 1);
  if (entry.job) localStorage.setItem(DISMISSED, JSON.stringify([entry.job.id, ...dismissed()].slice(0, 100)));
  changed();
}

/** What of a job could not be read whole, and was not read since. A failed upload leaves no document: it is seen here only. */
export function badUploads(entry) {
  const { job } = entry;
  const since = running.filter((other) => other.job?.created > job.created).flatMap((other) => other.job.uploads);
  return (job?.uploads ?? []).filter(({ name, state }) => (state === "failed" || state === "partial") && !since.some((other) => other.name === name && ["ok", "unchanged"].includes(other.state)));
}

/** Upload one file of a job again: the same one if this tab has it, else one that the reader picks. */
export function again(entry, name) {
  const file = entry.files?.get(name);
  if (file) return upload([[name, file]]);
  const picker = Object.assign(document.createElement("input"), { type: "file" });
  picker.onchange = () => upload([[name, picker.files[0]]]);
  picker.click();
}

/** Return what was dropped or picked as [path, File] pairs; folders with all that is in them, except hidden files. */
export async function pairsOf(transfer) {
  const entries = [...(transfer.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const pairs = entries.length
    ? (await Promise.all(entries.map((entry) => walk(entry, "")))).flat()
    : [...transfer.files].map((file) => [file.webkitRelativePath || file.name, file]);
  return pairs.filter(([path]) => !path.split("/").some((part) => part.startsWith(".")));
}

async function walk(entry, folder) {
  const path = folder + entry.name;
  if (entry.isFile) return [[path, await new Promise((resolve, reject) => entry.file(resolve, reject))]];
  const reader = entry.createReader();
  const children = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) break;
    children.push(...some); // at most 100 at once
  }
  return (await Promise.all(children.map((child) => walk(child, `${path}/`)))).flat();
}

/** Upload files to the collection that is looked at. */
export async function upload(pairs) {
  if (!pairs.length) {
    tell(t("There is no file in it."));
    return;
  }
  const name = context.collection.name;
  for (const batch of batches(pairs)) {
    const entry = { words: n("{n} file", "{n} files", batch.length), share: 0, collection: name, files: new Map(batch) };
    running.unshift(entry);
    changed();
    try {
      entry.job = await api.upload(name, batch, (share) => ((entry.share = share), changed()));
      follow(entry); // the next batch is sent meanwhile
    } catch (problem) {
      Object.assign(entry, { problem, again: () => (dismiss(entry), upload(batch)) });
      changed();
    }
  }
}

function* batches(pairs) {
  let batch = [];
  let bytes = 0;
  for (const pair of pairs) {
    if (batch.length && (batch.length >= BATCH_FILES || bytes + pair[1].size > BATCH_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(pair);
    bytes += pair[1].size;
  }
  yield batch;
}

/** Take up the jobs of a collection from before a reload: those that run, and those of the last day that failed in part. */
export async function resume(name) {
  const { jobs } = await api.jobs(name).catch(() => ({ jobs: [] }));
  const isKnown = ({ id }) => running.some((entry) => entry.job?.id === id) || dismissed().includes(id);
  const recent = jobs.filter((job) => !isKnown(job) && Date.now() / 1000 - (job.finished ?? Date.now() / 1000) < 86_400);
  for (const { href, finished } of recent.slice(0, 8)) {
    const job = await api.job(href).catch(() => null);
    if (!job || isKnown(job)) continue;
    const entry = { words: n("{n} file", "{n} files", job.total), share: 1, collection: name, job };
    if (finished === null) {
      running.push(entry);
      follow(entry);
    } else if (badUploads(entry).length) running.push(entry);
  }
  changed();
}

async function follow(entry) {
  for (let tries = 0; tries < 5 && entry.job.finished === null; tries += 1) {
    try {
      for await (const { event, data } of api.watch(entry.job)) {
        if (event !== "job") continue;
        Object.assign(entry, { job: data, words: n("{n} file", "{n} files", data.total) });
        tries = 0;
        changed();
      }
    } catch (problem) {
      entry.problem = problem;
    }
    if (entry.job.finished === null) await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  if (entry.job.finished !== null) entry.problem = null;
  changed();
  dispatchEvent(new CustomEvent("commonplace-added", { detail: entry }));
}

export async function cancel(entry) {
  try {
    entry.job = await api.cancel(entry.job.href);
  } catch (problem) {
    tell(trouble(problem));
  }
  changed();
}
