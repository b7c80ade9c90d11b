// What is looked at is in the address, so that back, forward, reload and bookmarks work.

const NAMES = ["q", "mode", "collection", "view", "type", "folder", "after", "before", "words", "without", "image", "like", "unlike", "open", "status", "name"];
export const FILTERS = ["type", "folder", "after", "before", "words", "without"];
const listeners = new Set();

export function state() {
  const query = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
}

export function address(changes, from = state()) {
  const query = new URLSearchParams(Object.entries({ ...from, ...changes }).filter(([, value]) => value));
  return query.size ? `/?${query}` : "/";
}

/** Go to the state with these changes; `replace` leaves no step for the back button. */
export function go(changes, { replace = false, from = state() } = {}) {
  const target = address(changes, from);
  if (target !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", target);
  changed();
}

export const EMPTY = Object.fromEntries(NAMES.map((name) => [name, ""]));

export function onChange(listener) {
  listeners.add(listener);
}

export function changed() {
  for (const listener of listeners) listener(state());
}

addEventListener("popstate", changed);

export const hasQuery = (values) => Boolean(values.q || values.image || values.like || values.words);

/** Whether words read like a question, which is answered rather than searched. */
export function isQuestion(words) {
  return (
    /[?？]\s*$/.test(words) ||
    /^(how|what|which|who|whom|whose|when|where|why|can|could|should|does|do|did|is|are|was|were)\s+\S+\s+\S/i.test(words) ||
    /(什么|怎么|怎样|如何|为何|为什么|哪|谁|多少|吗$|呢$|是否|能否)/.test(words)
  );
}

export const modeOf = (values) => (!values.q || values.words ? "search" : values.mode || (isQuestion(values.q) ? "ask" : "search"));

// Pictures that were dropped: too large for an address, which holds their name. They last as long as the tab.
const KEEP = "commonplace-picture-";

export function picture(name) {
  return name ? sessionStorage.getItem(KEEP + name) : null;
}

/** Keep a picture file, made small enough for the model and the tab. Returns its name. Throws if it is no picture. */
export async function keepPicture(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  const share = Math.min(1, 800 / Math.max(bitmap.width, bitmap.height));
  const canvas = Object.assign(document.createElement("canvas"), {
    width: Math.max(1, Math.round(bitmap.width * share)),
    height: Math.max(1, Math.round(bitmap.height * share)),
  });
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const name = Math.random().toString(36).slice(2, 10);
  const data = canvas.toDataURL("image/jpeg", 0.9);
  const kept = Object.keys(sessionStorage).filter((entry) => entry.startsWith(KEEP));
  for (const entry of kept.slice(0, Math.max(0, kept.length - 11))) sessionStorage.removeItem(entry);
  sessionStorage.setItem(KEEP + name, data);
  return name;
}
