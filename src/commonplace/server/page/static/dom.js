// Elements without HTML strings: text of documents can only become text.

const SVG = "http://www.w3.org/2000/svg";

/** Return a new element. Properties that start with "on" are listeners; null, undefined and false are left out. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key === "style") for (const [property, text] of Object.entries(value)) element.style.setProperty(property, text);
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14Zm5.2 12.200L21 21",
  picture: "M4 5h16v14H4zM4 16l4.5-4.5 4 4 2.5-2.5 5 5M15.5 9.500h.01",
  close: "M6 6l12 12M18 6L6 18",
  more: "M12 5v14M5 12h14",
  less: "M5 12h14",
  up: "M7 11v9H4v-9zM7 11l4-8c1.7 0 2.5 1 2.5 2.500V9H19c1.2 0 2 1 1.8 2.200l-1.3 7c-.2 1.1-1 1.8-2 1.800H7",
  down: "M17 13V4h3v9zM17 13l-4 8c-1.7 0-2.5-1-2.5-2.500V15H5c-1.2 0-2-1-1.8-2.200l1.3-7C4.7 4.7 5.5 4 6.5 4H17",
  bars: "M5 20V11M12 20V4M19 20v-6",
  stop: "M7 7h10v10H7z",
  retry: "M20 11a8 8 0 1 0-2.3 6.300M20 5v6h-6",
  save: "M12 4v11m0 0l-4.5-4.500M12 15l4.5-4.500M5 20h14",
  upload: "M12 16V5m0 0L7.5 9.500M12 5l4.5 4.500M5 20h14",
  folder: "M3 7c0-1.1.9-2 2-2h4l2 2.500h8c1.1 0 2 .9 2 2V17c0 1.1-.9 2-2 2H5c-1.1 0-2-.9-2-2z",
  file: "M7 3h7l5 5v13H7zM14 3v5h5",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13M10.5 11v5M13.5 11v5",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  chevron: "M7 10l5 5 5-5",
  warn: "M12 4l9 16H3zM12 10v4.500M12 17.200h.01",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8ZM12 2.500v2M12 19.500v2M2.5 12h2M19.5 12h2M5.3 5.300l1.4 1.400M17.3 17.300l1.4 1.400M5.3 18.700l1.4-1.400M17.3 6.700l1.4-1.4",
  moon: "M20 14.500A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.500Z",
  auto: "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16ZM12 4v16M12 8l4 0M12 12l6 0M12 16l4 0",
  key: "M14.5 4a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11ZM10.5 13.500L4 20v0h4v-3h3",
  arrow: "M5 12h14m0 0l-6-6m6 6l-6 6",
  check: "M5 12.500l4.5 4.500L19 7.5",
  original: "M9 5H5v14h14v-4M13 4h7v7M20 4l-9 9",
};

/** Return an icon, which screen readers skip: the button around it has the words. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** Return a button that shows an icon only, with its words for screen readers and as a tooltip. */
export function iconButton(name, words, properties = {}) {
  return h("button", { type: "button", class: "icon-button", "aria-label": words, title: words, ...properties }, icon(name));
}

/** Replace the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

let spoken = null;

/** Say something to screen readers. */
export function say(words) {
  spoken ??= document.body.appendChild(h("div", { class: "hidden", role: "status", "aria-live": "polite" }));
  spoken.textContent = words;
}

let toast = null;

/** Show a message for some seconds, with an optional button. */
export function tell(words, action = null) {
  toast?.remove();
  const shown = h("div", { class: "toast", role: "status" }, h("span", {}, words));
  if (action) shown.append(h("button", { type: "button", class: "link", onclick: () => (shown.remove(), action.run()) }, action.words));
  toast = shown;
  (document.querySelector("dialog[open]") ?? document.body).append(shown);
  setTimeout(() => shown.remove(), action ? 8000 : 4500);
}
