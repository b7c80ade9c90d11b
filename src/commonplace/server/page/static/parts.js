// Small parts that several views share.

import * as api from "./api.js";
import { h, icon, iconButton, tell } from "./dom.js";
import { go, state } from "./state.js";
import { channel, confidence, percent, place, t, trouble } from "./words.js";

/** What is known about the server and the collection that is looked at. */
export const context = { status: null, names: [], canCreate: false, collection: null };

const watcher = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (isIntersecting) target.load();
}, { rootMargin: "400px" });

/** A picture that is loaded when it comes near, with the key if there is one. Its box has its size before it loads. */
class LazyPicture extends HTMLElement {
  connectedCallback() {
    if (!this.image) watcher.observe(this);
  }

  disconnectedCallback() {
    watcher.unobserve(this);
    if (this.image?.src.startsWith("blob:")) URL.revokeObjectURL(this.image.src);
  }

  async load() {
    watcher.unobserve(this);
    if (this.image) return;
    this.image = h("img", { alt: this.getAttribute("alt") ?? "", decoding: "async", draggable: "false" });
    this.image.onload = () => {
      const ratio = this.image.naturalWidth / this.image.naturalHeight;
      this.classList.toggle("uncropped", ratio > 2.1 || ratio < 0.55);
      this.classList.add("loaded");
      this.dispatchEvent(new Event("loaded"));
    };
    this.image.onerror = () => {
      this.classList.add("failed");
      this.dispatchEvent(new Event("failed"));
    };
    try {
      this.image.src = await api.pictureAddress(this.getAttribute("src"));
      this.append(this.image);
    } catch {
      this.image.onerror();
    }
  }
}
customElements.define("lazy-picture", LazyPicture);

export const lazyPicture = (src, alt, properties = {}) => h("lazy-picture", { src, alt, ...properties });

/** The confidence of a hit in words, with a mark for its level. */
export function confidenceMark(hit) {
  const [level, words] = confidence(hit.confidence);
  return h("span", { class: `confidence level-${level}`, title: percent(hit.confidence) }, h("i", { "aria-hidden": "true" }), words);
}

/** A button that shows how a score came about. */
export function breakdownButton(hit) {
  return iconButton("bars", t("Why this score?"), { onclick: (event) => popup(event.currentTarget, breakdown(hit), "breakdown") });
}

function breakdown(hit) {
  const lines = [...hit.breakdown].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const widest = Math.max(...lines.map((line) => Math.abs(line.contribution)), 0.01);
  return [
    h("h3", {}, t("Why this score?")),
    h("p", { class: "quiet" }, t("Probability that this is what you look for: {percent}.", { percent: percent(hit.confidence) })),
    h("table", { class: "bars" },
      h("caption", { class: "hidden" }, t("Contributions to the score")),
      h("tbody", {}, lines.map((line) =>
        h("tr", { title: `${line.channel} · ${line.score.toFixed(3)}${line.rank ? ` · ${t("rank {rank}", { rank: line.rank })}` : ""}` },
          h("th", { scope: "row" }, channel(line.channel)),
          h("td", { class: "bar" }, h("i", { class: line.contribution < 0 ? "minus" : "plus", style: { "--share": Math.abs(line.contribution) / widest } })),
          h("td", { class: "number" }, (line.contribution > 0 ? "+" : "−") + Math.abs(line.contribution).toFixed(1)))))),
  ];
}

let open = null;

/** Show something beside a button until Escape or a click elsewhere. */
export function popup(anchor, content, kind = "") {
  open?.remove();
  const shown = h("div", { class: `popup ${kind}`, popover: "auto", role: "dialog", "aria-label": anchor.getAttribute("aria-label") ?? anchor.textContent }, content);
  open = shown;
  (anchor.closest("dialog") ?? document.body).append(shown);
  shown.addEventListener("toggle", (event) => {
    if (event.newState === "closed") {
      anchor.setAttribute("aria-expanded", "false");
      if (shown.contains(document.activeElement) || document.activeElement === document.body) anchor.focus();
      shown.remove();
    }
  });
  anchor.setAttribute("aria-expanded", "true");
  shown.showPopover();
  beside(shown, anchor);
  shown.querySelector("[autofocus], input, select, button")?.focus();
  return shown;
}

/** Put a fixed element below its anchor, or above it, inside the window and left of `right`. */
export function beside(shown, anchor, right = innerWidth) {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = shown;
  const left = Math.max(12, Math.min(box.left, right - width - 12));
  const below = box.bottom + 8;
  const top = below + height <= innerHeight - 8 || box.top < height + 16 ? Math.min(below, Math.max(8, innerHeight - height - 8)) : box.top - height - 8;
  shown.style.left = `${left}px`;
  shown.style.top = `${top}px`;
}

/** Buttons for what can be done with any hit. */
export function hitActions(hit, { rating = true } = {}) {
  const buttons = [
    iconButton("more", t("More like this"), { onclick: () => go({ like: hit.id, unlike: "", image: "", q: "", view: "", open: "", mode: "" }) }),
    iconButton("less", t("Not like this"), { onclick: () => go({ unlike: hit.id, view: "", open: "" }) }),
  ];
  if (rating && context.collection?.can_write && state().q) buttons.push(...ratings(hit));
  if (hit.breakdown?.length) buttons.push(breakdownButton(hit));
  return h("div", { class: "actions" }, buttons);
}

const given = new Map(); // what was said in this tab, so that a hit shows it wherever it is seen

function ratings(hit) {
  const query = state().q;
  const id = `${query}\n${hit.id}`;
  const buttons = [["up", true, t("Good hit")], ["down", false, t("Bad hit")]].map(([name, good, words]) =>
    iconButton(name, words, {
      "aria-pressed": String(given.get(id) === good),
      onclick: async () => {
        try {
          await api.label(context.collection.name, query, hit.id, good);
          given.set(id, good);
          buttons.forEach((button, number) => button.setAttribute("aria-pressed", String((number === 0) === good)));
          tell(t("Thank you. `commonplace tune` learns from it."));
        } catch (problem) {
          tell(trouble(problem));
        }
      },
    }));
  return buttons;
}

/** The name of a hit's document with the position in it. */
export function sourceLine(hit) {
  const where = place(hit);
  return h("span", { class: "source" }, h("b", {}, hit.name), where && h("span", {}, " · ", where));
}

/** An error with a way out of it. */
export function errorCard(problem, again = null) {
  return h("section", { class: "card error", role: "alert" },
    icon("warn"),
    h("div", {}, h("h2", {}, t("That did not work")), h("p", {}, trouble(problem)),
      again && h("button", { type: "button", class: "button", onclick: again }, icon("retry"), t("Try again"))));
}

