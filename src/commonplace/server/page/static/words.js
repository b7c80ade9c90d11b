// Words of the page: English stands in the code, and other languages in a table by the English words.

const LANGUAGES = { en: "English", zh: "中文" };
let table = {};
let language = "en";

export const languages = LANGUAGES;
export const current = () => language;

/** Load the language that was chosen here, else the browser's. */
export async function load(chosen = localStorage.getItem("commonplace-language")) {
  const wanted = chosen || (navigator.languages ?? [navigator.language]).find((tag) => tag.slice(0, 2) in LANGUAGES) || "en";
  language = wanted.slice(0, 2) in LANGUAGES ? wanted.slice(0, 2) : "en";
  table = language === "zh" ? (await import("./words.zh.js")).default : {};
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
}

export async function choose(chosen) {
  localStorage.setItem("commonplace-language", chosen);
  await load(chosen);
}

/** Return words in the reader's language, with the values of {names} put in. */
export function t(words, values = {}) {
  return (table[words] ?? words).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** Return the form for a number: `n("{n} file", "{n} files", 3)`. */
export function n(single, several, count) {
  const shown = new Intl.NumberFormat(language).format(count);
  return t(count === 1 && language === "en" ? single : several, { n: shown });
}

export const date = (seconds) => new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(new Date(seconds * 1000));

/** A confidence in words, with a level from 0 to 3 for its colour. */
export function confidence(value) {
  if (value >= 0.8) return [3, t("Very likely")];
  if (value >= 0.5) return [2, t("Likely")];
  if (value >= 0.15) return [1, t("Possible")];
  return [0, t("Weak")];
}

export function percent(value) {
  const shown = (share, digits = 0) => new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: digits }).format(share);
  if (value > 0.99) return `> ${shown(0.99)}`;
  if (value < 0.001) return `< ${shown(0.001, 1)}`;
  return shown(value, value < 0.1 ? 1 : 0);
}

/** Where an item stands in its document, in words. */
export function place(item) {
  const { span } = item;
  const parts = [];
  if (span.member) parts.push(span.member);
  if (span.begin !== undefined) parts.push(times(span));
  else if (span.page) parts.push(t("page {page}", { page: span.page }));
  if (item.title && item.modality !== "image") parts.push(span.row ? t("sheet {title}", { title: item.title }) : item.title);
  if (span.row) parts.push(t("row {row}", { row: span.row }));
  return parts.join(t(", "));
}

function times(span) {
  const [begin, finish] = [clock(span.begin), clock(span.finish ?? span.begin)];
  return begin === finish ? begin : t("{begin} to {finish}", { begin, finish });
}

function clock(seconds) {
  const [minutes, rest] = [Math.floor(seconds / 60), String(Math.floor(seconds % 60)).padStart(2, "0")];
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** What a line of a score breakdown stands for. */
export function channel(name) {
  const general = {
    prior: t("Before looking: how rare a match is"),
    match_density: t("How many other things match"),
    modality_bias: t("Pictures or passages preferred"),
    near_duplicate: t("Is the picture of the query"),
    as_written: t("The words stand there as written"),
    together: t("Words and picture both match"),
    beside_picture: t("Stands beside the picture of the query"),
    rerank: t("Second look at the best hits"),
  };
  if (name in general) return general[name];
  if (/bm25|lexical|words?$/i.test(name)) return t("Words in common");
  const [from, to] = name.split("->");
  const side = (part) => (/image|visual/.test(part ?? "") ? t("picture") : t("words"));
  if (to) return `${side(from)} → ${/image|visual|crossmodal/.test(to) ? t("picture") : /semantic|text/.test(to) ? t("meaning") : to}`;
  return name;
}

/** What went wrong, in words for people. */
export function trouble(problem) {
  if (problem.status === 0) return t("The server does not answer. Is it still running?");
  if (problem.slug === "busy" || problem.status === 503) return t("Many ask at once. Try again in a moment.");
  return problem.message;
}
