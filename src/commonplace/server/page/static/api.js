// The server's API: requests with the key, events that are read with fetch, uploads with progress, and pictures.

const KEY = "commonplace-key";
let askForKey = null;

/** An error that the server explains (RFC 9457). */
export class Problem extends Error {
  constructor(details, status, wait) {
    super(details.detail || details.title || String(status));
    Object.assign(this, { status, slug: (details.type || "").split(":").pop(), wait });
  }
}

export const key = () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY);

export function keepKey(secret, always) {
  for (const storage of [sessionStorage, localStorage]) storage.removeItem(KEY);
  if (secret) (always ? localStorage : sessionStorage).setItem(KEY, secret);
}

/** `prompt(wasWrong)` returns a promise that is fulfilled when there is a key. */
export function onMissingKey(prompt) {
  askForKey = prompt;
}

const base = (collection) => `/v1/collections/${encodeURIComponent(collection)}`;

async function request(path, options = {}) {
  for (;;) {
    const secret = key();
    const headers = { ...options.headers, ...(secret && { Authorization: `Bearer ${secret}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ type: ":offline", detail: "" }, 0);
    }
    if (response.ok) return response;
    if (response.status === 401 && askForKey && !options.quiet) {
      await askForKey(secret !== null && secret === key());
      continue;
    }
    const details = await response.json().catch(() => ({ title: response.statusText }));
    throw new Problem(details, response.status, Number(response.headers.get("Retry-After")) || null);
  }
}

const json = async (path, options) => (await request(path, options)).json();
const post = (body, signal) => ({ method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const status = () => json("/v1/status");
export const collections = () => json("/v1/collections");
export const collection = (name) => json(base(name));
export const createCollection = (name) => json("/v1/collections", post({ name }));
export const search = (name, body, signal) => json(`${base(name)}/search`, post(body, signal));
export const label = (name, query, item, good) => request(`${base(name)}/labels`, post({ query, item, good }));
export const item = (name, id) => json(`${base(name)}/items/${encodeURIComponent(id)}`);
export const items = (href) => json(`${href}/items`);
export const document_ = (href) => json(href);
export const remove = (href) => request(href, { method: "DELETE" });
export const retry = (href) => json(`${href}/retry`, { method: "POST" });
export const jobs = (name) => json(`${base(name)}/jobs`);
export const job = (href) => json(href);
export const cancel = (href) => json(href, { method: "DELETE" });

export function documents(name, { status = null, cursor = null, contains = "", limit = 100 } = {}) {
  const query = new URLSearchParams({ limit });
  if (status) query.set("status", status);
  if (cursor) query.set("cursor", cursor);
  if (contains) query.set("contains", contains);
  return json(`${base(name)}/documents?${query}`);
}

/** Yield the events of a stream as {event, data}. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value.replaceAll("\r", "");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const fields = { event: "message", data: "" };
        for (const line of text.slice(0, end).split("\n")) {
          const [, field, rest] = /^(\w*): ?(.*)$/.exec(line) ?? [];
          if (field === "event") fields.event = rest;
          else if (field === "data") fields.data += rest;
        }
        text = text.slice(end + 2);
        if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // the server then stops working on it
  }
}

export async function* ask(name, body, signal) {
  yield* events(await request(`${base(name)}/ask/stream`, post(body, signal)));
}

export async function* watch(job, signal) {
  yield* events(await request(job.events, { signal }));
}

/** Upload files as [path, File] pairs; `progress(share)` is called as bytes are sent. fetch tells no progress. */
export function upload(name, pairs, progress) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [path, file] of pairs) form.append("files", file, path);
    const sender = new XMLHttpRequest();
    sender.open("POST", `${base(name)}/documents`);
    if (key()) sender.setRequestHeader("Authorization", `Bearer ${key()}`);
    sender.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    sender.onerror = () => reject(new Problem({ type: ":offline", detail: "" }, 0));
    sender.onload = () => {
      let body = {};
      try {
        body = JSON.parse(sender.responseText);
      } catch {
        body = { title: sender.statusText };
      }
      if (sender.status < 300) resolve(body);
      else reject(new Problem(body, sender.status));
    };
    sender.send(form);
  });
}

/** Return an address that an <img> can load: with a key the picture is fetched, because an <img> sends no header. */
export async function pictureAddress(path) {
  if (!key()) return path;
  return URL.createObjectURL(await (await request(path)).blob());
}

const MOST_TO_PLAY = 300 * 2 ** 20; // bytes: with a key a film is fetched whole, as a <video> sends no header either

/** Return an address that a <video> or an <audio> can load. */
export async function mediaAddress(path) {
  if (!key()) return path;
  const response = await request(path);
  if (Number(response.headers.get("Content-Length")) > MOST_TO_PLAY) {
    response.body.cancel().catch(() => {});
    throw new Problem({ type: ":large", title: "" }, 0);
  }
  return URL.createObjectURL(await response.blob());
}

/** Return a picture as a data URL, for a file that holds everything. */
export async function pictureData(path) {
  const blob = await (await request(path)).blob();
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Save what is behind a path as a file. */
export async function save(path, name) {
  saveBlob(await (await request(path)).blob(), name);
}

export function saveBlob(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
